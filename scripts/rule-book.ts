import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { command as render } from '../src/cli/render.ts';
import { parseFlags } from '../src/config/parse-flags.ts';

/** The rule book's folder. */
export const ruleBook = join(import.meta.dirname, '..', 'rules');

/** A rendered file of a scenario, and what the program makes of it now. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
}

/** Scenario folders in order: those with an objects.yaml. */
export function scenarios(): readonly string[] {
  return readdirSync(ruleBook)
    .filter((name) => existsSync(join(ruleBook, name, 'objects.yaml')))
    .toSorted();
}

/**
 * Renders a scenario as its README says: the indented line that starts with `switchyard render` is
 * the command, so what a reader copies is what is tested.
 */
export async function renderScenario(name: string): Promise<readonly RenderedFile[]> {
  const folder = join(ruleBook, name);
  const args = commandOf(folder);
  const files: RenderedFile[] = [];
  for (const family of familiesOf(await run(folder, [...args, '--output=json']))) {
    const suffix = family === 'ipv6' ? '-ipv6' : '';
    const only = [...args, `--ip-family=${family}`];
    files.push(
      { path: join(folder, `iptables${suffix}.rules`), content: await run(folder, only) },
      {
        path: join(folder, `graph${suffix}.svg`),
        content: await run(folder, [...only, '--output=svg']),
      },
    );
  }
  return files;
}

/** A rendered file as it is committed; '' where it is missing. */
export function committed(file: RenderedFile): string {
  return existsSync(file.path) ? readFileSync(file.path, 'utf8') : '';
}

function commandOf(folder: string): readonly string[] {
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  const line = /^ {4}switchyard render (?<args>.*)$/m.exec(readme)?.groups?.['args'];
  if (line === undefined) throw new Error(`${folder}/README.md has no "switchyard render" line`);
  return line.split(' ');
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

async function run(folder: string, args: readonly string[]): Promise<string> {
  const inFolder = args.map((arg) => (arg === 'objects.yaml' ? join(folder, arg) : arg));
  const { flags, positionals } = parseFlags(render.flags, inFolder);
  const out: string[] = [];
  const status = await render.run(
    { flags, positionals },
    {
      stdout: (text) => out.push(text),
      stderr: () => {},
      stdin: async () => '',
      env: {},
      signal: new AbortController().signal,
    },
  );
  if (status !== 0) throw new Error(`${folder}: switchyard render ended with ${status}`);
  return out.join('');
}
