// Goes over every flag and every field of kube-proxy, so that none can fall out: default, precedence, effect or the reason why it
// has none, and what is refused.
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseDocument, stringify } from 'yaml';
import { readConfigFile } from '../../../src/config/config-file.ts';
import { configObject } from '../../../src/config/config-object.ts';
import { goDuration } from '../../../src/config/duration.ts';
import type { FlagValues } from '../../../src/config/flag-table.ts';
import type { FlagSpec } from '../../../src/config/flag-table.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { fieldRows } from '../../support/kube-proxy-fields.ts';
import { flagRows } from '../../support/kube-proxy-flags.ts';

const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

/** Of the version of kube-proxy that had the userspace mode: a flag, and the field that says the same. */
const older = new Map([
  ['proxy-port-range', 'portRange'],
  ['udp-timeout', 'udpIdleTimeout'],
]);

interface Outcome {
  readonly config: ProxyConfig;
  readonly flags: FlagValues;
  readonly warnings: readonly string[];
}

function outcomeOf(flags: FlagValues, warnings: readonly string[]): Outcome {
  const all = [...warnings];
  return { config: proxyConfig(flags, (text) => all.push(text)), flags, warnings: all };
}

function byFlags(...argv: readonly string[]): Outcome {
  const { flags, warnings } = parseFlags(proxyFlags, argv);
  return outcomeOf(flags, warnings);
}

function byFile(body: string, ...argv: readonly string[]): Outcome {
  const given = parseFlags(proxyFlags, argv).flags;
  const { flags, warnings } = readConfigFile(head + body, 'c.yaml', proxyFlags, given);
  return outcomeOf(flags, warnings);
}

function problemOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'usage') return error.message;
    throw error;
  }
  return 'nothing was refused';
}

/** YAML of one field, and of others beside it. */
function bodyOf(path: string, yaml: string, beside = ''): string {
  return `${path.split('.').join(': {')}: ${yaml}${'}'.repeat(path.split('.').length - 1)}\n${beside}`;
}

function written({ flags, config }: Outcome): object {
  return configObject(proxyFlags, flags, config);
}

function at(object: unknown, path: string): unknown {
  let value = object;
  for (const name of path.split('.')) value = (value as Record<string, unknown>)[name];
  return value;
}

/** As --help of kube-proxy prints a default. */
function usualText({ type, default: usual }: FlagSpec): string {
  return type === 'duration' ? goDuration(Number(usual)) : String(usual ?? '');
}

const flagOf = (name: string): FlagSpec | undefined =>
  proxyFlags.find((flag) => flag.name === name && flag.fileOnly === undefined);
const usual = byFlags();

describe('the flags of kube-proxy', () => {
  it('are all there; our own, which no file can say, count beside one', () => {
    const flags = proxyFlags.filter(({ fileOnly }) => fileOnly === undefined);
    const names = new Set(flags.map(({ name }) => name));
    expect(flagRows.filter(({ name }) => !names.has(name))).toEqual([]);
    const rows = new Set(flagRows.map(({ name }) => name));
    for (const { name, configPath, besideFile } of flags.filter((flag) => !rows.has(flag.name))) {
      expect([name, configPath, besideFile]).toEqual(
        older.has(name) ? [name, older.get(name), undefined] : [name, undefined, true],
      );
    }
  });

  it.each(flagRows)('--$name has the default $usual and the field $field', (row) => {
    const flag = flagOf(row.name);
    expect(flag && [usualText(flag), flag.configPath, flag.besideFile]).toEqual([
      row.usual,
      row.field,
      row.beside,
    ]);
  });

  it.each(flagRows)('--$name=$sample is taken, and is what is written down', (row) => {
    const argv = [`--${row.name}=${row.sample}`];
    const outcome = byFlags(...argv);
    expect(outcome.warnings).toHaveLength(row.why === undefined ? 0 : 1);
    expect(outcome.warnings.join('\n')).toContain(row.why ?? '');
    const apart = flagOf(row.name)?.type === 'bool' ? argv : [`--${row.name}`, row.sample];
    expect(byFlags(...apart).config).toEqual(outcome.config);
    const changes = row.field !== undefined;
    const field = row.field ?? 'mode';
    expect(!isDeepStrictEqual(at(written(outcome), field), at(written(usual), field))).toBe(
      changes,
    );
  });

  it.each(flagRows.filter(({ bad }) => bad !== undefined))('--$name=$bad is refused', (row) => {
    const argv = `--${row.name}=${row.bad ?? ''}`;
    expect(problemOf(() => byFlags(argv))).toMatch(new RegExp(`^--${row.name}: |^-${row.name}: `));
  });

  it.each(flagRows.filter(({ name }) => name !== 'config'))(
    '--$name beside a file counts, or is said to be ignored',
    (row) => {
      const { flags, warnings } = byFile('', `--${row.name}=${row.sample}`);
      const ignored = `--${row.name} is ignored: --config is given`;
      expect(warnings.includes(ignored)).toBe(row.beside === undefined);
      const field = flagOf(row.name)?.field ?? camel(row.name);
      expect(flags.given(field)).toBe(row.beside === true);
    },
  );
});

function camel(name: string): string {
  return name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

describe('the fields of KubeProxyConfiguration', () => {
  it('are all there, and beside them only what an older version had', () => {
    const known = proxyFlags
      .map(({ configPath }) => configPath)
      .filter((each) => each !== undefined);
    const rows = fieldRows.map(({ path }) => path);
    expect(known.toSorted()).toEqual([...rows, 'udpIdleTimeout'].toSorted());
  });

  it.each(fieldRows)('$path is $usual where nothing is said, or null', (row) => {
    expect(at(written(usual), row.path)).toEqual(row.usual);
    const empty = byFile(bodyOf(row.path, 'null'));
    expect(empty.config).toEqual(usual.config);
    expect(empty.warnings).toEqual([]);
  });

  it.each(fieldRows.filter(({ gives }) => !('why' in gives)))(
    '$path: $sample counts, without a warning',
    (row) => {
      const outcome = byFile(bodyOf(row.path, row.sample, row.beside));
      expect(outcome.warnings).toEqual([]);
      for (const [path, value] of Object.entries(row.gives)) {
        expect(at(outcome.config, path)).toEqual(value);
      }
    },
  );

  it.each(fieldRows.filter(({ gives }) => 'why' in gives))(
    '$path: $sample has no effect, and a warning says why',
    (row) => {
      const outcome = byFile(bodyOf(row.path, row.sample));
      expect(outcome.warnings).toHaveLength(1);
      expect(outcome.warnings[0]).toMatch(new RegExp(`^c\\.yaml: ${row.path}`));
      expect(outcome.warnings[0]).toContain(at(row.gives, 'why'));
      // What one mode is told is kept, though another one is used.
      const ofMode = { userspace: undefined };
      expect({ ...outcome.config, ...ofMode }).toEqual({ ...usual.config, ...ofMode });
    },
  );

  it.each(fieldRows)('$path: $bad is refused by its name', (row) => {
    const [yaml, problem] = row.bad ?? [];
    const body = bodyOf(row.path, yaml ?? '', row.beside);
    const shown = row.path.startsWith('detectLocal.') ? '--pod-' : `c.yaml: ${row.path}: `;
    const message = problemOf(() => byFile(body));
    expect(message).toContain(problem);
    expect(message.startsWith(shown)).toBe(true);
  });

  it.each(fieldRows)('$path: $sample is read back from what is written', (row) => {
    const first = byFile(bodyOf(row.path, row.sample, row.beside));
    const text = stringify(written(first), { version: '1.1' });
    const given = parseFlags(proxyFlags, []).flags;
    const file = readConfigFile(text, 'c.yaml', proxyFlags, given);
    const second = outcomeOf(file.flags, file.warnings);
    expect(second.config).toEqual(first.config);
    expect(written(second)).toEqual(written(first));
    expect(second.warnings).toEqual(first.warnings);
  });

  it('are written sorted by name, as kube-proxy does', () => {
    const text = stringify(written(usual), { version: '1.1' });
    const names = Object.keys(parseDocument(text).toJS() as object);
    expect(names).toEqual(names.toSorted());
    expect(names).toContain('winkernel');
  });
});
