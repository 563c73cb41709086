// `npm run configuration`: writes the tables of docs/configuration.md and docs/kubelet.md from the flags and fields the program has.
import { writeFileSync } from 'node:fs';
import { goDuration } from '../src/config/duration.ts';
import { honouredGates, proxyGates } from '../src/config/feature-gates.ts';
import type { FlagSpec } from '../src/config/flag-table.ts';
import { kubeletFlags } from '../src/config/kubelet-flags.ts';
import { proxyFlags } from '../src/config/proxy-flags.ts';
import { madePage } from './made-page.ts';
import type { MadePage, Tables } from './made-page.ts';

/** The proxy's page. */
export function configurationPage(): MadePage {
  return madePage('configuration.md', tables());
}

/** The kubelet's. */
export function kubeletPage(): MadePage {
  return madePage('kubelet.md', kubeletTables());
}

function tables(): Tables {
  const fields = proxyFlags.filter((flag) => flag.configPath !== undefined);
  const others = proxyFlags.filter((flag) => flag.configPath === undefined);
  return {
    fields: [
      '| field | flag | default | what it does |',
      '|---|---|---|---|',
      ...fields
        .toSorted((one, other) => compare(one.configPath ?? '', other.configPath ?? ''))
        .map(fieldRow),
    ],
    flags: [
      '| flag | default | beside `--config` | what it does |',
      '|---|---|---|---|',
      ...others.toSorted((one, other) => compare(one.name, other.name)).map(flagRow),
    ],
    gates: [
      '| gate | what the case is |',
      '|---|---|',
      ...[...honouredGates].map(([name, what]) => `| \`${name}\` | ${what} |`),
      ...[...proxyGates].map(([name, { is, why }]) => `| \`${name}\` | ${stateText(is)}${why} |`),
    ],
  };
}

function isField(flag: FlagSpec): boolean {
  return flag.configPath !== undefined;
}

function byPath(one: FlagSpec, other: FlagSpec): number {
  return compare(one.configPath ?? one.name, other.configPath ?? other.name);
}

function kubeletTables(): Tables {
  const idle = kubeletFlags.filter((flag) => flag.noEffect !== undefined);
  const read = kubeletFlags.filter((flag) => flag.noEffect === undefined);
  return {
    'kubelet-fields': [
      '| field | flag | default | what it does |',
      '|---|---|---|---|',
      ...read.filter(isField).toSorted(byPath).map(fieldRow),
    ],
    'kubelet-idle-fields': [
      '| field | why it changes nothing |',
      '|---|---|',
      ...idle
        .toSorted(byPath)
        .map((flag) => `| \`${flag.configPath ?? dashed(flag)}\` | ${flag.noEffect ?? ''} |`),
    ],
    'kubelet-flags': [
      '| flag | default | what it does |',
      '|---|---|---|',
      ...read
        .filter((flag) => !isField(flag))
        .toSorted(byPath)
        .map((flag) => `| \`${dashed(flag)}\` | ${usualText(flag)} | ${whatText(flag)} |`),
    ],
  };
}

function fieldRow(flag: FlagSpec): string {
  const name =
    flag.fileOnly === true ? '–' : `\`${dashed(flag)}\`${flag.besideFile === true ? ' ¹' : ''}`;
  return `| \`${flag.configPath ?? ''}\` | ${name} | ${usualText(flag)} | ${whatText(flag)} |`;
}

function flagRow(flag: FlagSpec): string {
  const beside = flag.besideFile === true ? 'counts' : 'ignored';
  return `| \`${dashed(flag)}\` | ${usualText(flag)} | ${beside} | ${whatText(flag)} |`;
}

function dashed({ name, short }: FlagSpec): string {
  return name === short ? `-${name}` : `--${name}`;
}

function whatText({ help, noEffect, deprecated }: FlagSpec): string {
  const text = noEffect === undefined ? help : `No effect: ${noEffect}.`;
  const old = deprecated === undefined ? '' : ` Deprecated: ${deprecated}.`;
  return `${text}${old}`.replaceAll('|', '\\|');
}

function usualText({ type, default: usual }: FlagSpec): string {
  if (usual === undefined || usual === '') return '–';
  return `\`${type === 'duration' ? goDuration(Number(usual)) : String(usual)}\``;
}

function stateText(is: boolean | undefined): string {
  return is === undefined ? '' : `as \`${String(is)}\`: `;
}

function compare(one: string, other: string): number {
  return one < other ? -1 : 1;
}

if (import.meta.main) {
  for (const { path, made } of [configurationPage(), kubeletPage()]) writeFileSync(path, made);
}
