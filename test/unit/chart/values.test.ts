// The values: each is in the README and the schema, each is of use, and Chart.yaml speaks of this version.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { chartPage, valueRows } from '../../../scripts/chart-page.ts';
import { chart } from '../../support/helm.ts';

const read = (name: string): string => readFileSync(join(chart, name), 'utf8');

interface Schema {
  readonly properties?: Readonly<Record<string, Schema | false>>;
  readonly additionalProperties?: unknown;
}

/** Paths of a map's leaves; maps without fields are leaves. */
function leaves(value: unknown, path: readonly string[] = []): readonly string[] {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
  const entries = isMap ? Object.entries(value) : [];
  if (entries.length === 0) return [path.join('.')];
  return entries.flatMap(([key, each]) => leaves(each, [...path, key]));
}

/** Whether the schema names a path; below a map of any keys all are named. */
function isNamed(schema: Schema, path: readonly string[]): boolean {
  const [key = '', ...rest] = path;
  const { properties = {}, additionalProperties = true } = schema;
  const next = properties[key];
  if (next === undefined || next === false) return additionalProperties !== false;
  return rest.length === 0 || isNamed(next, rest);
}

describe('the values', () => {
  const text = read('values.yaml');
  const schema = JSON.parse(read('values.schema.json')) as Schema;

  it('are in the README as values.yaml has them (npm run chart)', () => {
    const { committed, made } = chartPage();
    expect(committed).toBe(made);
  });

  it('are all of the schema, which refuses any other', () => {
    for (const path of leaves(parse(text)))
      expect(isNamed(schema, path.split('.')), path).toBe(true);
    expect(isNamed(schema, ['clusterCidr'])).toBe(false);
    expect(isNamed(schema, ['metrics', 'serviceMonitor', 'enable'])).toBe(false);
  });

  it('are used by a template each', () => {
    const names = ['_helpers.tpl', 'NOTES.txt', 'configmap', 'daemonset', 'dashboard', 'monitors'];
    const more = ['prometheusrule', 'rbac', 'service', 'serviceaccount'];
    const files = [...names, ...more].map((name) => (name.includes('.') ? name : `${name}.yaml`));
    const templates = files.map((name) => read(join('templates', name))).join('\n');
    for (const { path } of valueRows(text)) {
      const last = path.split('.').at(-1) ?? '';
      expect(templates, path).toMatch(new RegExp(`\\.${last}\\b`));
    }
  });

  it('without a comment are seen', () => {
    expect(() => valueRows('a:\n  # -- good\n  b: 1\n  c: 2\n')).toThrow(/a\.c has no comment/);
    expect(valueRows('a:\n  # -- good\n  b: 1\n')).toEqual([
      { path: 'a.b', value: '1', text: 'good' },
    ]);
  });
});

describe('Chart.yaml', () => {
  it('speaks of the version that package.json has', () => {
    const { appVersion } = parse(read('Chart.yaml')) as { appVersion: string };
    const file = join(import.meta.dirname, '../../../package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    expect(appVersion).toBe(version);
  });
});
