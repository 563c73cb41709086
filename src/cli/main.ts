import { constants } from 'node:os';
import { basename } from 'node:path';
import process from 'node:process';
import { text as readText } from 'node:stream/consumers';
import { parseFlags } from '../config/parse-flags.ts';
import { closest } from '../config/suggest.ts';
import { SwitchyardError } from '../error.ts';
import type { Command, CommandIo } from './command.ts';
import { failureText } from './failure-text.ts';
import { keepNativeHeapSmall } from './malloc.ts';
import { printableIo } from './printable.ts';
import { commandHelp, overview } from './usage.ts';
import { versionText } from './version.ts';

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** Only the command that runs is loaded: none needs the others' libraries. */
  readonly load: () => Promise<{ readonly command: Command }>;
}

const commands: readonly CommandEntry[] = [
  {
    name: 'proxy',
    summary: 'Runs the agent: makes Services work on this node.',
    load: async () => import('./proxy.ts'),
  },
  {
    name: 'kubelet',
    summary: "Runs the agent of a node's pods, with a cluster or without one.",
    load: async () => import('./kubelet.ts'),
  },
  {
    name: 'node',
    summary:
      'Runs both agents of a node, that of its pods and that of its Services, in one process.',
    load: async () => import('./node.ts'),
  },
  {
    name: 'ps',
    summary:
      'Lists the pods of this node, with a cluster or without one, and what is not run and why.',
    load: async () => import('./ps.ts'),
  },
  {
    name: 'logs',
    summary: 'Prints what a container of this node has said, and goes on if asked to.',
    load: async () => import('./logs.ts'),
  },
  {
    name: 'exec',
    summary: 'Runs a command in a container of this node.',
    load: async () => import('./exec.ts'),
  },
  {
    name: 'render',
    summary:
      'Prints the rules (or the rule graph) for some manifests; needs no root and no cluster.',
    load: async () => import('./render.ts'),
  },
  {
    name: 'explain',
    summary: 'Tells where a packet goes and why, with exact probabilities.',
    load: async () => import('./explain.ts'),
  },
  {
    name: 'status',
    summary: 'Says what the agents on this node do, and what they could not do and why.',
    load: async () => import('./status.ts'),
  },
  {
    name: 'diff',
    summary: 'Compares the rules of this node, or a dump of another, with what they should be.',
    load: async () => import('./diff.ts'),
  },
  {
    name: 'cleanup',
    summary: 'Removes the rules, sets and settings that a service proxy has put on this node.',
    load: async () => import('./cleanup.ts'),
  },
  {
    name: 'doctor',
    summary: 'Says what this node lacks, what is in the way of Services, and the cure of each.',
    load: async () => import('./doctor.ts'),
  },
  {
    name: 'demo',
    summary: 'Shows it all at work in namespaces of its own; needs no cluster.',
    load: async () => import('./demo.ts'),
  },
];

/**
 * Runs one command line (`argv` as of the process: program, script, arguments; called kube-proxy by one of the first two it
 * is `proxy`), prints nothing that a terminal would obey, and resolves with the exit status: 0, 1 for a failure, 2 for a mistake in the command line.
 */
export async function main(argv: readonly string[], given: CommandIo): Promise<number> {
  const io = printableIo(given);
  try {
    return await dispatch(argv, io);
  } catch (error) {
    io.stderr(failureText(error, io.env));
    return error instanceof SwitchyardError && error.code === 'usage' ? 2 : 1;
  }
}

async function dispatch(argv: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = argv.slice(2);
  if (argv.slice(0, 2).some(isKubeProxy)) {
    // kube-proxy takes no command: one that is there comes of a name given to a command line of ours.
    return runCommand('proxy', name === 'proxy' ? rest : argv.slice(2), io);
  }
  switch (name) {
    case undefined:
      io.stderr(overview(commands));
      return 2;
    case '--help':
    case '-h':
      io.stdout(overview(commands));
      return 0;
    case 'help':
      if (rest[0] !== undefined) return runCommand(rest[0], ['--help'], io);
      io.stdout(overview(commands));
      return 0;
    case '--version':
    case 'version':
      io.stdout(versionText('short'));
      return 0;
    case '--version=raw':
      io.stdout(versionText('raw'));
      return 0;
    default:
      return runCommand(name, rest, io);
  }
}

/** Whether a program or script has the name by which it stands for kube-proxy, whatever its extension. */
function isKubeProxy(path: string): boolean {
  return basename(path).replace(/\.[cm]?[jt]s$/, '') === 'kube-proxy';
}

async function runCommand(name: string, argv: readonly string[], io: CommandIo): Promise<number> {
  const entry = commands.find((each) => each.name === name);
  if (!entry) throw unknownCommand(name);
  const { command: usual } = await entry.load();
  const command = (await usual.otherwise?.(argv)) ?? usual;
  try {
    return await runLoaded(command, argv, io);
  } catch (error) {
    throw advised(error, `switchyard ${name} --help says what each flag takes`);
  }
}

/** A mistake in the command line never stands without a word on what to do. */
function advised(error: unknown, hint: string): unknown {
  if (!(error instanceof SwitchyardError) || error.code !== 'usage') return error;
  if (error.hint !== undefined) return error;
  return new SwitchyardError('usage', error.message, { cause: error, hint });
}

async function runLoaded(
  command: Command,
  argv: readonly string[],
  io: CommandIo,
): Promise<number> {
  const parsed = parseFlags(command.flags, argv);
  if (parsed.help) {
    io.stdout(commandHelp(command));
    return 0;
  }
  if (parsed.version !== undefined) {
    io.stdout(versionText(parsed.version));
    return 0;
  }
  checkPositionals(command, parsed.positionals);
  for (const warning of parsed.warnings) io.stderr(`warning: ${warning}\n`);
  return command.run({ flags: parsed.flags, positionals: parsed.positionals }, io);
}

function checkPositionals(command: Command, given: readonly string[]): void {
  const { min, max, usage } = command.positionals ?? { min: 0, max: 0, usage: '' };
  if (given.length >= min && given.length <= max) return;
  const hint = `see switchyard ${command.name} --help`;
  if (given.length < min) {
    throw new SwitchyardError('usage', `${command.name} needs ${usage}`, { hint });
  }
  throw new SwitchyardError('usage', `unexpected argument ${JSON.stringify(given[max])}`, { hint });
}

function unknownCommand(name: string): SwitchyardError {
  const names = commands.map((each) => each.name);
  const guess = closest(name, names);
  return new SwitchyardError('usage', `unknown command ${JSON.stringify(name)}`, {
    hint: guess === undefined ? `commands: ${names.join(', ')}` : `did you mean ${guess}?`,
  });
}

/** Signals closer together than this are one: npm passes on a Ctrl-C that the terminal has sent us too. */
const sameSignalMs = 1000;

/** Aborts on the first SIGTERM or SIGINT; the next one ends the process at once. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  let firstMs = 0;
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    // `on`, not `once`: execa kills a process that has no listener of its own while a tool runs.
    process.on(name, () => {
      if (!stop.signal.aborted) firstMs = performance.now();
      else if (performance.now() - firstMs > sameSignalMs) {
        process.exit(128 + constants.signals[name]);
      }
      stop.abort();
    });
  }
  return stop.signal;
}

/** What is resident on each node, beside all that runs there. */
const lean: ReadonlySet<string | undefined> = new Set(['kubelet', 'node']);

if (import.meta.main) {
  if (lean.has(process.argv[2])) keepNativeHeapSmall();
  // argv[0] is node's own path, argv0 the name it was called by.
  process.exitCode = await main([process.argv0, ...process.argv.slice(1)], {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    stdin: async () => readText(process.stdin),
    env: process.env,
    signal: stopSignal(),
  });
}
