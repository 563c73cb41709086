import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Exit } from './surroundings.ts';
import type { Running as Shell } from './surroundings.ts';

/** A program of the image; its status. */
export type Program = (args: readonly string[], shell: Shell) => Promise<number> | number;

/** Where a relative path lies, too. */
function place(shell: Shell, path: string): string {
  const { workingDir } = shell.around;
  return shell.around.file(path.startsWith('/') ? path : `${workingDir}/${path}`);
}

/** A file's writer, as a redirection has it: it is empty, or there, at once. */
export function writer(shell: Shell, path: string, append: boolean): (text: string) => void {
  if (path === '/dev/null') return () => {};
  if (path === '/dev/stdout' || path === '/dev/stderr') {
    return (text) => {
      shell.write(path === '/dev/stdout' ? 1 : 2, text);
    };
  }
  const file = place(shell, path);
  mkdirSync(dirname(file), { recursive: true });
  if (append) appendFileSync(file, '');
  else writeFileSync(file, '');
  return (text) => {
    appendFileSync(file, text);
  };
}

async function sleep([text = '0']: readonly string[], shell: Shell): Promise<number> {
  const ms = text === 'inf' || text === 'infinity' ? 2 ** 31 - 1 : duration(text);
  await shell.around.sleep(ms, shell.around.life);
  return 0;
}

function duration(text: string): number {
  const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
  const unit = units[text.at(-1) ?? ''];
  return (unit === undefined ? Number(text) : Number(text.slice(0, -1)) * unit) * 1000;
}

function cat(args: readonly string[], shell: Shell): number {
  let status = 0;
  for (const path of args) {
    try {
      shell.write(1, readFileSync(place(shell, path), 'utf8'));
    } catch {
      shell.write(2, `cat: can't open '${path}': No such file or directory\n`);
      status = 1;
    }
  }
  return status;
}

function test(args: readonly string[], shell: Shell): number {
  const words = args.filter((word) => word !== ']');
  if (words[0] === '!') return test(words.slice(1), shell) === 0 ? 1 : 0;
  return holds(words, shell) ? 0 : 1;
}

type OfFile = (path: string) => boolean;

const unary: Readonly<Record<string, OfFile>> = {
  '-e': existsSync,
  '-f': (file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true,
  '-d': (file) => statSync(file, { throwIfNoEntry: false })?.isDirectory() === true,
  '-s': (file) => (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0,
  '-L': (file) => lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true,
};

const binary: Readonly<Record<string, (a: string, b: string) => boolean>> = {
  '=': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '-eq': (a, b) => Number(a) === Number(b),
  '-lt': (a, b) => Number(a) < Number(b),
  '-le': (a, b) => Number(a) <= Number(b),
  '-gt': (a, b) => Number(a) > Number(b),
  '-ge': (a, b) => Number(a) >= Number(b),
};

function holds(words: readonly string[], shell: Shell): boolean {
  const [a = '', b = '', c = ''] = words;
  if (words.length < 2) return a !== '';
  if (words.length === 2 && (a === '-n' || a === '-z')) return (a === '-n') === (b !== '');
  const judge = words.length === 2 ? unary[a] : undefined;
  if (judge) return judge(place(shell, b));
  const compare = binary[b];
  if (!compare) throw new Error(`test ${words.join(' ')}: not known here`);
  return compare(a, c);
}

function option(args: readonly string[], name: string): string | undefined {
  const at = args.indexOf(name);
  return at === -1 ? undefined : args[at + 1];
}

/** A real server at the pod's address; it runs till it is killed. */
async function httpd(args: readonly string[], shell: Shell): Promise<number> {
  const root = option(args, '-h') ?? '/';
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '/').split('?')[0] ?? '/');
    const file = place(shell, `${root}${path.endsWith('/') ? `${path}index.html` : path}`);
    const found = statSync(file, { throwIfNoEntry: false })?.isFile() === true;
    response.writeHead(found ? 200 : 404, { connection: 'close' });
    response.end(found ? readFileSync(file) : 'not found\n');
  });
  const port = Number((option(args, '-p') ?? '80').split(':').at(-1));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, shell.around.podIp, resolve);
  });
  try {
    await shell.around.sleep(2 ** 31 - 1, shell.around.life);
  } finally {
    server.close();
    server.closeAllConnections();
  }
  return 0;
}

async function timeout(args: readonly string[], shell: Shell): Promise<number> {
  const [limit = '0', ...command] = args;
  const over = new AbortController();
  const status = shell.run(command, (stream, text) => {
    shell.write(stream, text);
  });
  const late = shell.around.sleep(
    duration(limit),
    AbortSignal.any([over.signal, shell.around.life]),
  );
  const first = await Promise.race([status, late.then(() => 143)]);
  over.abort();
  return first;
}

function ls(args: readonly string[], shell: Shell): number {
  const all = args.includes('-a') || args.includes('-A');
  const path = args.find((word) => !word.startsWith('-')) ?? '.';
  const file = place(shell, path);
  if (!existsSync(file)) {
    shell.write(2, `ls: ${path}: No such file or directory\n`);
    return 1;
  }
  const names = statSync(file).isDirectory() ? readdirSync(file).toSorted() : [path];
  for (const name of names) if (all || !name.startsWith('.')) shell.write(1, `${name}\n`);
  return 0;
}

async function subShell(args: readonly string[], shell: Shell): Promise<number> {
  const at = args.indexOf('-c');
  if (at === -1) return 0;
  try {
    return await shell.script(args[at + 1] ?? '', args.slice(at + 2));
  } catch (thrown) {
    if (thrown instanceof Exit) return thrown.status;
    throw thrown;
  }
}

async function tail(args: readonly string[], shell: Shell): Promise<number> {
  if (args.includes('/dev/zero')) {
    shell.around.outOfMemory();
    await turn();
    return 137;
  }
  if (args.includes('-f')) return sleep(['inf'], shell);
  return cat(
    args.filter((word) => !word.startsWith('-')),
    shell,
  );
}

function exit([status]: readonly string[], shell: Shell): never {
  throw new Exit(Number(status ?? shell.variables.get('?') ?? 0));
}

function env(args: readonly string[], shell: Shell): number {
  const [name] = args;
  if (name === undefined) {
    for (const [key, value] of shell.variables) shell.write(1, `${key}=${value}\n`);
    return 0;
  }
  const value = shell.variables.get(name);
  if (value !== undefined) shell.write(1, `${value}\n`);
  return value === undefined ? 1 : 0;
}

function echo(args: readonly string[], shell: Shell): number {
  const bare = args[0] === '-n';
  shell.write(1, (bare ? args.slice(1) : args).join(' ') + (bare ? '' : '\n'));
  return 0;
}

function touch(args: readonly string[], shell: Shell): number {
  for (const path of args) writer(shell, path, true);
  return 0;
}

function rm(args: readonly string[], shell: Shell): number {
  for (const path of args.filter((word) => !word.startsWith('-'))) {
    rmSync(place(shell, path), { recursive: true, force: true });
  }
  return 0;
}

function mkdir(args: readonly string[], shell: Shell): number {
  for (const path of args.filter((word) => !word.startsWith('-'))) {
    mkdirSync(place(shell, path), { recursive: true });
  }
  return 0;
}

/** `ln -s TARGET LINK`. */
function link(args: readonly string[], shell: Shell): number {
  const [target = '', path = ''] = args.filter((word) => !word.startsWith('-'));
  symlinkSync(target, place(shell, path));
  return 0;
}

/** `stat -L -c '%a %u %g' FILE…`: of what links lead to. */
function stat(args: readonly string[], shell: Shell): number {
  const format = option(args, '-c') ?? '%n';
  for (const path of args.filter((word) => word.startsWith('/'))) {
    const found = statSync(place(shell, path));
    const fields = { a: (found.mode & 0o7777).toString(8), u: found.uid, g: found.gid, n: path };
    shell.write(
      1,
      `${format.replaceAll(/%(?<name>[augn])/g, (_, name: keyof typeof fields) => String(fields[name]))}\n`,
    );
  }
  return 0;
}

function trap([action = '', ...signals]: readonly string[], shell: Shell): number {
  shell.trap(action, signals);
  return 0;
}

async function wait(_: readonly string[], shell: Shell): Promise<number> {
  await shell.wait();
  return 0;
}

/** `date +%s` and `date +%s%N`. */
function date([format = '+%s']: readonly string[], shell: Shell): number {
  const ms = Math.floor(shell.around.nowMs());
  shell.write(1, format === '+%s' ? `${Math.floor(ms / 1000)}\n` : `${ms}000000\n`);
  return 0;
}

function print(text: (shell: Shell) => string): Program {
  return (_, shell) => {
    shell.write(1, `${text(shell)}\n`);
    return 0;
  };
}

const list: Readonly<Record<string, Program>> = {
  ':': () => 0,
  true: () => 0,
  false: () => 1,
  sh: subShell,
  ash: subShell,
  exit,
  echo,
  env,
  printenv: env,
  cat,
  ls,
  test,
  '[': test,
  touch,
  rm,
  mkdir,
  ln: link,
  stat,
  printf: (args, shell) => echo(['-n', ...args], shell),
  sleep,
  timeout,
  tail,
  httpd,
  trap,
  wait,
  date,
  hostname: print((shell) => shell.around.hostname),
  pwd: print((shell) => shell.around.workingDir),
  export: () => 0,
  set: () => 0,
};

/** What stands in for the image's busybox, by name. */
export function program(name: string): Program | undefined {
  return Object.hasOwn(list, name) ? list[name] : undefined;
}
