import { bindText } from './bind-address.ts';
import { goDuration } from './duration.ts';
import { fieldOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValues } from './flag-table.ts';
import type { BindConfig, ProxyConfig } from './proxy-config.ts';

/** What a configuration file says it is. */
export const configApiVersion = 'kubeproxy.config.k8s.io/v1alpha1';
export const configKind = 'KubeProxyConfiguration';

/** JSON as it goes into a file or an answer. */
export type ConfigValue =
  | string
  | number
  | boolean
  | null
  | readonly ConfigValue[]
  | { readonly [name: string]: ConfigValue };

/** Fields that kube-proxy leaves out where they are at their default; it does not know the last one any more. */
const omittedWhereUsual = new Set([
  'featureGates',
  'logging.options.json.splitStream',
  'logging.options.text.splitStream',
  'logging.vmodule',
  'windowsRunAsService',
  'udpIdleTimeout',
]);

/**
 * The configuration that is used, as a KubeProxyConfiguration with all fields, sorted by name: what flags say is in it,
 * and every default. What no file can say is not (`--master`, `--source` and the like).
 */
export function configObject(
  table: FlagTable,
  flags: FlagValues,
  config: ProxyConfig,
): { readonly [name: string]: ConfigValue } {
  const shown = table.filter((flag) => !isOmitted(flag, flags));
  return configTree(shown, flags, effectiveValues(config));
}

/** All fields of a table that a file has, as such a file; `effective` has those that are otherwise than flags say, and its kind. */
export function configTree(
  table: FlagTable,
  flags: FlagValues,
  effective: ReadonlyMap<string, ConfigValue>,
): { readonly [name: string]: ConfigValue } {
  const leaves = new Map<string, ConfigValue>();
  for (const flag of table) {
    if (flag.configPath !== undefined) leaves.set(flag.configPath, leafOf(flag, flags));
  }
  for (const [path, value] of effective) leaves.set(path, value);
  return nested([...leaves].toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

/** What a server is, though a flag may say it otherwise: by its port, or by the family of another address. */
function effectiveValues(config: ProxyConfig): ReadonlyMap<string, ConfigValue> {
  return new Map<string, ConfigValue>([
    ['apiVersion', configApiVersion],
    ['kind', configKind],
    ['mode', config.mode],
    ['detectLocalMode', config.detectLocal.mode],
    ['hostnameOverride', config.hostnameOverride],
    ['healthzBindAddress', bound(config.healthzBind)],
    ['metricsBindAddress', bound(config.metricsBind)],
  ]);
}

function bound(bind: BindConfig | undefined): string {
  return bind === undefined ? '' : bindText(bind);
}

function isOmitted(flag: FlagSpec, flags: FlagValues): boolean {
  if (!omittedWhereUsual.has(flag.configPath ?? '')) return false;
  const value = flags.value(fieldOf(flag));
  return Array.isArray(value) ? value.length === 0 : value === (flag.default ?? false);
}

function leafOf(flag: FlagSpec, flags: FlagValues): ConfigValue {
  const field = fieldOf(flag);
  switch (flag.type) {
    case 'bool':
      return flags.bool(field);
    case 'int':
    case 'float':
      return flags.number(field);
    case 'duration':
      return goDuration(flags.number(field));
    case 'string':
    case 'enum':
    case 'quantity':
      return flags.text(field);
    case 'list':
      return listLeaf(flag, flags.list(field));
    default:
      return flag.type satisfies never;
  }
}

function listLeaf({ item }: FlagSpec, list: readonly string[]): ConfigValue {
  switch (item) {
    case undefined:
      return list.length === 0 ? null : list;
    case 'gate':
      return Object.fromEntries(list.map(splitItem).map(([name, on]) => [name, on === 'true']));
    case 'module':
      return list
        .map(splitItem)
        .map(([filePattern, level]) => ({ filePattern, verbosity: Number(level) }));
    case 'pair':
      return Object.fromEntries(list.map((each) => cutAt(each, each.indexOf('='))));
    case 'header':
      return headersOf(list);
    case 'taint':
      return list.map(taintOf);
    case 'any':
      return list.length === 0 ? null : (JSON.parse(list[0] ?? '') as ConfigValue);
    default:
      return item satisfies never;
  }
}

function splitItem(text: string): readonly [string, string] {
  return cutAt(text, text.lastIndexOf('='));
}

function cutAt(text: string, at: number): readonly [string, string] {
  return [text.slice(0, at), text.slice(at + 1)];
}

function headersOf(list: readonly string[]): ConfigValue {
  const headers: Record<string, string[]> = {};
  for (const each of list) {
    const [name, value] = cutAt(each, each.indexOf(':'));
    (headers[name] ??= []).push(value);
  }
  return headers;
}

function taintOf(text: string): ConfigValue {
  const [what, effect] = splitTaint(text);
  const [key, value] = what.includes('=') ? cutAt(what, what.indexOf('=')) : [what, ''];
  return { key, ...(value === '' ? {} : { value }), effect };
}

function splitTaint(text: string): readonly [string, string] {
  return cutAt(text, text.lastIndexOf(':'));
}

/** Sections from dotted paths, which are sorted. */
function nested(leaves: readonly (readonly [string, ConfigValue])[]): {
  readonly [name: string]: ConfigValue;
} {
  const root: Record<string, ConfigValue> = {};
  for (const [path, value] of leaves) {
    const names = path.split('.');
    const last = names.pop() ?? '';
    let section = root;
    for (const name of names) {
      section[name] ??= {};
      section = section[name] as Record<string, ConfigValue>;
    }
    section[last] = value;
  }
  return root;
}
