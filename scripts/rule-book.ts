import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Command } from '../src/cli/command.ts';
import { command as explain } from '../src/cli/explain.ts';
import { command as render } from '../src/cli/render.ts';
import { parseFlags } from '../src/config/parse-flags.ts';

/** The rule book's folder. */
export const ruleBook = join(import.meta.dirname, '..', 'rules');

/** A rendered file, and what the program makes of it now. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
}

/** A scenario's README: a title, three lines of text, and the indented commands. */
export interface Readme {
  readonly title: string;
  readonly text: readonly string[];
  readonly render: readonly string[];
  /** Questions to `switchyard explain`, where the scenario asks any. */
  readonly explain: readonly (readonly string[])[];
}

/** Scenario folders in order. */
export function scenarios(): readonly string[] {
  return readdirSync(ruleBook, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}

/** Reads a scenario's README. */
export function readmeOf(name: string): Readme {
  const path = join(ruleBook, name, 'README.md');
  const lines = readFileSync(path, 'utf8').split('\n');
  const commands = (which: string): readonly (readonly string[])[] =>
    lines
      .filter((line) => line.startsWith(`    switchyard ${which} `))
      .map((line) => line.trim().split(' ').slice(2));
  const [rendering] = commands('render');
  if (rendering === undefined) throw new Error(`${path} has no "switchyard render" line`);
  return {
    title: (lines[0] ?? '').replace(/^# /, ''),
    text: lines.slice(1).filter((line) => line !== '' && !line.startsWith('    ')),
    render: rendering,
    explain: commands('explain'),
  };
}

/** The modes, and how their files end. */
const modes = [
  ['iptables', 'rules'],
  ['ipvs', 'rules'],
  ['userspace', 'txt'],
] as const;

/**
 * Renders a scenario as its README says: the indented lines that start with `switchyard` are the
 * commands, so what a reader copies is what is tested. What `render` warns of is a file too.
 */
export async function renderScenario(name: string): Promise<readonly RenderedFile[]> {
  const { render: args, explain: questions } = readmeOf(name);
  const folder = join(ruleBook, name);
  const all = await run(render, folder, [...args, '--output=json']);
  const files: RenderedFile[] = [];
  const add = (file: string, content: string): void => {
    files.push({ path: join(folder, file), content });
  };
  for (const family of familiesOf(all.stdout)) {
    const suffix = family === 'ipv6' ? '-ipv6' : '';
    const only = [...args, `--ip-family=${family}`];
    const picture = await run(render, folder, [...only, '--output=svg']);
    for (const [mode, ending] of modes) {
      add(
        `${mode}${suffix}.${ending}`,
        (await run(render, folder, [...only, `--mode=${mode}`])).stdout,
      );
    }
    add(`graph${suffix}.svg`, picture.stdout);
  }
  if (all.stderr !== '') add('warnings.txt', all.stderr);
  const answers: string[] = [];
  for (const question of questions) {
    const { stdout } = await run(explain, folder, question);
    answers.push(`$ switchyard explain ${question.join(' ')}\n${stdout}`);
  }
  if (answers.length > 0) add('explain.txt', answers.join('\n'));
  return files;
}

/**
 * The rule book's own README, with a row for each scenario and its rendered files; what stands above
 * the table is written by hand.
 */
export function renderIndex(rendered: ReadonlyMap<string, readonly RenderedFile[]>): RenderedFile {
  const path = join(ruleBook, 'README.md');
  const heading = '| scenario | what it shows | |';
  const [intro = ''] = readFileSync(path, 'utf8').split(heading);
  const rows = Array.from(rendered, ([name, files]) => {
    const links = files.map(({ path: file }) => {
      const inFolder = relative(join(ruleBook, name), file);
      return `[${linkTexts[inFolder] ?? inFolder}](${name}/${inFolder})`;
    });
    const [first = ''] = readmeOf(name).text;
    return `| [${name}](${name}/) | ${first} | ${links.join(' · ')} |`;
  });
  return { path, content: `${intro}${heading}\n|---|---|---|\n${rows.join('\n')}\n` };
}

const linkTexts: Readonly<Record<string, string>> = {
  'iptables.rules': 'iptables',
  'ipvs.rules': 'ipvs',
  'userspace.txt': 'userspace',
  'graph.svg': 'picture',
  'iptables-ipv6.rules': 'IPv6 iptables',
  'ipvs-ipv6.rules': 'IPv6 ipvs',
  'userspace-ipv6.txt': 'IPv6 userspace',
  'graph-ipv6.svg': 'IPv6 picture',
  'warnings.txt': 'warnings',
  'explain.txt': 'explained',
};

/** Files of the rule book that nobody renders or reads: they would look like the program's work. */
export function surplus(rendered: readonly RenderedFile[]): readonly string[] {
  const known = new Set([
    'README.md',
    ...scenarios().flatMap((name) => [join(name, 'README.md'), join(name, 'objects.yaml')]),
    ...rendered.map(({ path }) => relative(ruleBook, path)),
  ]);
  return readdirSync(ruleBook, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(ruleBook, join(entry.parentPath, entry.name)))
    .filter((file) => !known.has(file))
    .toSorted();
}

/** A rendered file as it is committed; '' where it is missing. */
export function committed(file: RenderedFile): string {
  return existsSync(file.path) ? readFileSync(file.path, 'utf8') : '';
}

/** IPv4 always, IPv6 where the scenario has IPv6 frontends. */
function familiesOf(json: string): readonly ('ipv4' | 'ipv6')[] {
  const graphs = JSON.parse(json) as readonly {
    family: 'ipv4' | 'ipv6';
    frontends: readonly unknown[];
  }[];
  return graphs
    .filter(({ family, frontends }) => family === 'ipv4' || frontends.length > 0)
    .map(({ family }) => family);
}

async function run(
  command: Command,
  folder: string,
  args: readonly string[],
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const inFolder = args.map((arg) => (arg === 'objects.yaml' ? join(folder, arg) : arg));
  const { flags, positionals } = parseFlags(command.flags, inFolder);
  let [stdout, stderr] = ['', ''];
  const status = await command.run(
    { flags, positionals },
    {
      stdout: (text) => void (stdout += text),
      stderr: (text) => void (stderr += text.replaceAll(`${folder}/`, '')),
      stdin: async () => '',
      env: {},
      signal: new AbortController().signal,
    },
  );
  if (status !== 0) throw new Error(`${folder}: switchyard ${command.name} ended with ${status}`);
  return { stdout, stderr };
}
