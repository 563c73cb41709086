import { formatDuration } from '../config/duration.ts';
import type { FlagSpec, FlagTable } from '../config/flag-table.ts';
import type { Command } from './command.ts';

/** What `switchyard help` says. */
export function overview(commands: readonly Pick<Command, 'name' | 'summary'>[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    'Switchyard makes Kubernetes Services work on a Linux node.',
    '',
    'usage: switchyard COMMAND [flags]',
    '',
    ...lines,
    '',
    'switchyard COMMAND --help lists the flags of a command; switchyard --version prints the version.',
    '',
  ].join('\n');
}

/** What `switchyard COMMAND --help` says. */
export function commandHelp(command: Command): string {
  const positionals = command.positionals === undefined ? '' : ` ${command.positionals.usage}`;
  const details = command.details === undefined ? [] : [command.details.trimEnd(), ''];
  return [
    `usage: switchyard ${command.name}${positionals} [flags]`,
    '',
    command.summary,
    '',
    ...details,
    flagHelp(command.flags),
  ].join('\n');
}

function flagHelp(table: FlagTable): string {
  const flags = table.filter((flag) => flag.fileOnly === undefined);
  const shown = flags.filter(
    (flag) => flag.deprecated === undefined && flag.noEffect === undefined,
  );
  const groups = new Map<string, FlagSpec[]>([['', []]]);
  for (const flag of shown) {
    const group = flag.group ?? '';
    groups.set(group, [...(groups.get(group) ?? []), flag]);
  }
  const idle = flags.filter((flag) => flag.noEffect !== undefined).map(({ name }) => `--${name}`);
  return [
    ...[...groups]
      .filter(([, each]) => each.length > 0)
      .map(([group, each]) =>
        [group === '' ? 'Flags:' : `${group}:`, ...each.map(flagLines), ''].join('\n'),
      ),
    ...(idle.length === 0 ? [] : [idleText(idle)]),
  ].join('\n');
}

/** Flags of kube-proxy that are taken so that its command lines work. */
function idleText(names: readonly string[]): string {
  const lines = wrap(`${names.join(', ')}.`, 92).map((line) => `      ${line}`);
  return ['Taken and without effect; a warning says why:', ...lines, ''].join('\n');
}

function flagLines(flag: FlagSpec): string {
  const long = flag.name === flag.short ? '' : `--${flag.name}`;
  const names = [
    ...(flag.short === undefined ? [] : [`-${flag.short}`]),
    ...(long === '' ? [] : [long]),
    ...(flag.aliases ?? []).map((alias) => `--${alias}`),
  ].join(', ');
  const value = flag.type === 'bool' ? '' : `=${flag.placeholder ?? placeholderOf(flag)}`;
  const preset = defaultText(flag);
  const help = preset === '' ? flag.help : `${flag.help} Default: ${preset}.`;
  return `  ${names}${value}\n${wrap(help, 92)
    .map((line) => `      ${line}`)
    .join('\n')}`;
}

function placeholderOf(flag: FlagSpec): string {
  if (flag.type === 'enum') return (flag.values ?? []).filter((value) => value !== '').join('|');
  const names = { bool: '', string: 'TEXT', int: 'N', float: 'N', duration: 'DURATION' };
  return { ...names, list: 'LIST', quantity: 'SIZE' }[flag.type];
}

function defaultText(flag: FlagSpec): string {
  const preset = flag.default;
  if (preset === undefined || preset === '' || preset === false) return '';
  if (typeof preset === 'number' && flag.type === 'duration') return formatDuration(preset);
  return String(preset);
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + word.length >= width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
