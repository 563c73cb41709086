import { parseDocument } from 'yaml';
import { SwitchyardError } from '../error.ts';
import { FlagValues, fieldOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValue } from './flag-table.ts';
import { userspaceFlags } from './userspace-flags.ts';
import { parseFlagValue } from './parse-flags.ts';

/** Settings read from a configuration file. */
export interface ConfigFile {
  readonly flags: FlagValues;
  /** Fields that are not used and flags the file overrides, in words. */
  readonly warnings: readonly string[];
}

const apiVersion = 'kubeproxy.config.k8s.io/v1alpha1';
const kind = 'KubeProxyConfiguration';

/** Flags that count beside a file, as in kube-proxy, and our own, which no file can say. */
const besideFile = new Set([
  'config',
  'hostname-override',
  'master',
  'source',
  'state-file',
  'ipvs-drain-timeout',
  ...userspaceFlags.filter(({ configPath }) => configPath === undefined).map(({ name }) => name),
  'init-only',
  'cleanup',
  'v',
  'vmodule',
  'logging-format',
  'log-flush-frequency',
  'log-json-info-buffer-size',
  'log-json-split-stream',
  'log-text-info-buffer-size',
  'log-text-split-stream',
]);

/** Fields of which an explicit 0s means the default: KubeProxyConfiguration cannot leave them out. */
const zeroIsUnset = new Set([
  'iptables.syncPeriod',
  'iptables.minSyncPeriod',
  'ipvs.syncPeriod',
  'configSyncPeriod',
  'udpIdleTimeout',
]);

/**
 * Reads a KubeProxyConfiguration into the values of the flags that say the same. Empty and null
 * fields are the defaults, as kubeadm writes them. Unknown fields are warned of; a value of the wrong
 * type throws a usage error that names file and field.
 */
export function readConfigFile(
  text: string,
  path: string,
  table: FlagTable,
  flags: FlagValues,
): ConfigFile {
  const leaves = leavesOf(parseConfig(text, path), '');
  const values = new Map<string, FlagValue>();
  const given = new Map<string, string>();
  const warnings: string[] = [];
  checkShape(leaves, table, path);
  for (const flag of table) {
    const field = fieldOf(flag);
    const fromFile = takeLeaf(flag, leaves, path);
    if (fromFile !== undefined) {
      values.set(field, fromFile);
      given.set(field, `${path}: ${flag.configPath ?? ''}`);
      if (flag.noEffect !== undefined) {
        warnings.push(`${path}: ${flag.configPath ?? ''} has no effect: ${flag.noEffect}`);
      }
    }
    if (!flags.given(field)) continue;
    if (besideFile.has(flag.name)) {
      values.set(field, flags.value(field));
      given.set(field, flags.shown(field));
    } else warnings.push(`${flags.shown(field)} is ignored: --config is given`);
  }
  for (const [name, value] of leaves) {
    if (!isEmpty(value)) warnings.push(`${path}: ${name} is not used`);
  }
  return { flags: new FlagValues(table, values, given), warnings };
}

function parseConfig(text: string, path: string): object {
  const document = parseDocument(text, { version: '1.1' });
  const [problem] = document.errors;
  if (problem?.code === 'MULTIPLE_DOCS') {
    throw new SwitchyardError('usage', `${path}: has more than one document, expected one`, {
      hint: `keep the ${kind} alone; no line of --- may follow it`,
    });
  }
  if (problem) throw new SwitchyardError('usage', `${path}: ${problem.message}`);
  const root: unknown = document.toJS();
  if (!isObject(root) || root['kind'] !== kind || root['apiVersion'] !== apiVersion) {
    throw new SwitchyardError('usage', `${path}: is not a ${kind} of ${apiVersion}`, {
      hint: `it has to say: apiVersion: ${apiVersion}, kind: ${kind}`,
    });
  }
  return root;
}

/** Sections have fields and fields have none: what is written otherwise would pass for an unknown field. */
function checkShape(leaves: ReadonlyMap<string, unknown>, table: FlagTable, path: string): void {
  const known = table.map((flag) => flag.configPath).filter((each) => each !== undefined);
  for (const [name, value] of leaves) {
    const inside = known.find((field) => field.startsWith(`${name}.`));
    if (inside !== undefined && value !== null) {
      const got = JSON.stringify(value);
      throw new SwitchyardError('usage', `${path}: ${name}: ${got} is not a section with fields`, {
        hint: `write its fields below it: ${inside}, for example`,
      });
    }
    const above = known.find((field) => name.startsWith(`${field}.`));
    if (above !== undefined) {
      throw new SwitchyardError('usage', `${path}: ${above}: expected a value, got fields`, {
        hint: `leave out ${name}`,
      });
    }
  }
}

/** Every value by its dotted path; lists are values. */
function leavesOf(node: object, prefix: string): Map<string, unknown> {
  const leaves = new Map<string, unknown>();
  for (const [key, value] of Object.entries(node)) {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (name === 'kind' || name === 'apiVersion') continue;
    if (!isObject(value)) leaves.set(name, value);
    else for (const [inner, leaf] of leavesOf(value, name)) leaves.set(inner, leaf);
  }
  return leaves;
}

/** Takes the flag's field out of the leaves; undefined where the file leaves it at its default. */
function takeLeaf(flag: FlagSpec, leaves: Map<string, unknown>, path: string): FlagValue {
  if (flag.configPath === undefined) return undefined;
  const value = leaves.get(flag.configPath);
  leaves.delete(flag.configPath);
  const blank = value === undefined || value === null || value === '';
  if (blank || (flag.noEffect !== undefined && isEmpty(value))) return undefined;
  const text = Array.isArray(value) ? value.join(',') : scalarText(value);
  const parsed = parseFlagValue(flag, text, `${path}: ${flag.configPath}`);
  return parsed === 0 && zeroIsUnset.has(flag.configPath) ? undefined : parsed;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function scalarText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What kubeadm writes for fields nobody set. */
function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return [undefined, null, '', 0, false, '0s', '0'].includes(value as string);
}
