import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { readManifestPaths } from '../../../src/informer/manifest-files.ts';
import {
  manifestProblemText,
  parseManifestFile,
  parseManifests,
  type ManifestSet,
} from '../../../src/informer/manifests.ts';
import { nodeKind, rawWidget, widgetKind } from './widgets.ts';

const kinds = [widgetKind, nodeKind];

function parse(text: string): ManifestSet {
  return parseManifests(text, 'a.yaml', kinds);
}

function names(set: ManifestSet): string[] {
  return set.of(widgetKind).map(({ meta, color }) => `${meta.namespace}/${meta.name}:${color}`);
}

function uid(set: ManifestSet): string | undefined {
  return set.of(widgetKind)[0]?.meta.uid;
}

function widgetOfColor(text: string): string | undefined {
  return names(parse(yaml('a', text)))[0];
}

function yaml(name: string, color: string): string {
  return `apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: ${name}}\nspec: {color: ${color}}\n`;
}

test('many documents are read; empty ones and kinds nobody asked for are passed over', () => {
  const set = parse(
    `---\n${yaml('a', 'red')}---\n---\n# nothing\n---\napiVersion: v1\nkind: Secret\n---\n${yaml('b', 'blue')}`,
  );
  expect(names(set)).toEqual(['default/a:red', 'default/b:blue']);
  expect(set.ignored).toBe(1);
  expect(set.problems).toEqual([]);
});

test.each([
  ['List', { apiVersion: 'v1', kind: 'List', items: [rawWidget('a', 'red')] }],
  [
    'a list of one kind',
    {
      apiVersion: 'example.com/v1',
      kind: 'WidgetList',
      items: [{ metadata: { name: 'a' }, spec: { color: 'red' } }],
    },
  ],
])('%s is opened', (_name, list) => {
  expect(names(parse(JSON.stringify(list)))).toEqual(['default/a:red']);
});

test('objects without a namespace are in default, unless their kind has none', () => {
  const set = parse(
    `${yaml('a', 'red')}---\n{apiVersion: v1, kind: Node, metadata: {name: node1}, spec: {color: blue}}`,
  );
  expect(set.of(widgetKind)[0]?.meta.namespace).toBe('default');
  expect(set.of(nodeKind)[0]?.meta).toMatchObject({ namespace: '', name: 'node1' });
});

test('an object without a uid gets one that depends on its name alone', () => {
  expect(uid(parse(yaml('a', 'red')))).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  expect(uid(parse(yaml('a', 'red')))).toBe(uid(parse(yaml('a', 'blue'))));
  expect(uid(parse(yaml('a', 'red')))).not.toBe(uid(parse(yaml('b', 'red'))));
  expect(uid(parse(JSON.stringify(rawWidget('a', 'red', { uid: 'mine' }))))).toBe('mine');
});

test('YAML is read as the Kubernetes tools read it', () => {
  // a date and a base-60 number are strings, `yes` is a boolean and therefore no color
  expect(widgetOfColor('2026-01-01T00:00:00Z')).toBe('default/a:2026-01-01T00:00:00Z');
  expect(widgetOfColor('10:20')).toBe('default/a:10:20');
  expect(widgetOfColor('yes')).toBeUndefined();
});

test('what is not selected is not there', () => {
  expect(names(parse(JSON.stringify(rawWidget('a', 'red', { labels: { hidden: '' } }))))).toEqual(
    [],
  );
});

const problems: readonly (readonly [string, string, string])[] = [
  [
    'a syntax error',
    `${yaml('a', 'red')}---\nkind: [\n`,
    'a.yaml: document 2, line 7: not valid YAML',
  ],
  ['a key given twice', 'kind: A\nkind: B\n', 'a.yaml: document 1, line 2: not valid YAML'],
  ['a scalar', 'hello', 'a.yaml: document 1, line 1: not an object with apiVersion and kind'],
  ['no kind', 'apiVersion: v1', 'a.yaml: document 1, line 1: kind: is missing'],
  ['no apiVersion', 'kind: Widget', 'a.yaml: document 1, line 1: apiVersion: is missing'],
  [
    'no name',
    'apiVersion: example.com/v1\nkind: Widget\nmetadata: {}\n',
    'a.yaml: document 1, line 3: Widget: metadata.name: is missing',
  ],
  [
    'a namespace that is a number',
    yaml('a', 'red').replace('name: a', 'name: a, namespace: 123'),
    'a.yaml: document 1, line 3: Widget a: metadata.namespace: is no string',
  ],
  [
    'a namespace that is a list',
    yaml('a', 'red').replace('name: a', 'name: a, namespace: [x]'),
    'a.yaml: document 1, line 3: Widget a: metadata.namespace: is no string',
  ],
  [
    'a uid that is a number',
    yaml('a', 'red').replace('name: a', 'name: a, uid: 5'),
    'a.yaml: document 1, line 3: Widget default/a: metadata.uid: is no string',
  ],
  [
    'an unusable field',
    `${yaml('b', 'red')}---\n${yaml('a', '[x]')}`,
    'a.yaml: document 2, line 9: Widget default/a: spec.color: must be a string',
  ],
  [
    'an unusable field in a list',
    `apiVersion: v1\nkind: List\nitems:\n- apiVersion: example.com/v1\n  kind: Widget\n  metadata: {name: a}\n  spec:\n    color: red\n    size: big\n`,
    'a.yaml: document 1, line 9: Widget default/a: items[0].spec.size: must be a number',
  ],
  [
    'a kind of another version',
    'apiVersion: example.com/v1beta1\nkind: Widget\n',
    'a.yaml: document 1, line 1: Widget: apiVersion: expected example.com/v1, got "example.com/v1beta1"; the object is ignored',
  ],
  ...['Wdget', 'Widgets', 'widget', 'Wigdet', 'Widgat'].map(
    (kind) =>
      [
        `a misspelt kind, ${kind},`,
        `apiVersion: example.com/v1\nkind: ${kind}\n`,
        `a.yaml: document 1, line 2: ${kind}: kind: expected Widget, got "${kind}"; the object is ignored`,
      ] as const,
  ),
  [
    'a name with control characters, quoted and',
    'apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: "a\\e[31m"}\n',
    String.raw`Widget "default/a\u001b[31m": spec.color: must be a string`,
  ],
  [
    'a list without a list',
    'apiVersion: v1\nkind: List\nitems: 3\n',
    'a.yaml: document 1, line 3: items: must be a list',
  ],
  [
    'an object defined twice',
    `${yaml('a', 'red')}---\n${yaml('a', 'blue')}`,
    'a.yaml: document 2, line 6: Widget default/a: defined twice: also in a.yaml, document 1, line 1; this one, the later, is used',
  ],
];

test.each(problems)('%s is reported with its place', (_name, text, expected) => {
  const { problems: found } = parse(text);
  expect(found).toHaveLength(1);
  expect(found.map(manifestProblemText)[0]).toContain(expected);
});

test.each([
  ['v1', 'Pod'],
  ['v1', 'Secret'],
  ['apps/v1', 'Deployment'],
  ['serving.example.org/v1', 'Widget'],
])('%s %s is simply another kind', (apiVersion, kind) => {
  const set = parse(`apiVersion: ${apiVersion}\nkind: ${kind}\n`);
  expect([set.ignored, set.problems]).toEqual([1, []]);
});

test('a bad document spoils no other', () => {
  const set = parse(`${yaml('a', 'red')}---\nkind: [\n---\n${yaml('b', 'blue')}`);
  expect(names(set)).toEqual(['default/a:red', 'default/b:blue']);
});

test('a quote that is left open spoils its own document only', () => {
  const set = parse(`${yaml('a', '"red')}---\n${yaml('b', 'blue')}---\n${yaml('c', "'x'")}`);
  expect(names(set)).toEqual(['default/b:blue', 'default/c:x']);
  expect(set.problems).toHaveLength(1);
});

test('of an object defined twice the later one counts', () => {
  expect(names(parse(`${yaml('a', 'red')}---\n${yaml('a', 'blue')}`))).toEqual(['default/a:blue']);
});

test('a document that explodes by its aliases is refused', () => {
  const levels = Array.from({ length: 20 }, (_, level) => {
    const value = level === 0 ? '[x, x]' : `[*l${level - 1}, *l${level - 1}]`;
    return `l${level}: &l${level} ${value}\n`;
  });
  const { problems: found } = parse(levels.join(''));
  expect(found[0]?.reason).toContain('not valid YAML');
});

test('many objects may share an anchor', () => {
  const shared = Array.from({ length: 200 }, (_, index) => {
    const labels = index === 0 ? '&labels {app: web}' : '*labels';
    return `- apiVersion: example.com/v1\n  kind: Widget\n  metadata: {name: w${index}, labels: ${labels}}\n  spec: {color: red}\n`;
  });
  const set = parse(`apiVersion: v1\nkind: List\nitems:\n${shared.join('')}`);
  expect(set.problems).toEqual([]);
  expect(names(set)).toHaveLength(200);
});

test.each([
  ['one after the other', '\n'],
  ['without a space', ''],
  ['between separators', '\n---\n'],
])('JSON objects %s are a document each', (_name, between) => {
  const objects = [rawWidget('a', 'r}{"ed'), rawWidget('b', '\\"'), rawWidget('c', 'blue')];
  const set = parse(objects.map((object) => JSON.stringify(object)).join(between));
  expect(set.problems).toEqual([]);
  expect(names(set)).toEqual(['default/a:r}{"ed', 'default/b:\\"', 'default/c:blue']);
});

test('directives belong to the document after them, and lines are those of the file', () => {
  const set = parse(`# first\n%YAML 1.1\n---\n${yaml('a', 'red')}---\n${yaml('b', '7')}`);
  expect(names(set)).toEqual(['default/a:red']);
  expect(set.problems.map(manifestProblemText)).toEqual([
    'a.yaml: document 2, line 12: Widget default/b: spec.color: must be a string',
  ]);
});

test('an object whose uid is no string gets one', () => {
  const made = uid(parse(yaml('a', 'red')));
  expect(uid(parse(yaml('a', 'red').replace('name: a', 'name: a, uid: 5')))).toBe(made);
});

test('others get their turn between documents', async () => {
  let turns = 0;
  let running = true;
  const turn = (): void => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const file = await parseManifestFile(`${yaml('a', 'red')}---\n`.repeat(50), 'a.yaml', kinds);
  running = false;
  expect(file.entries).toHaveLength(50);
  expect(turns).toBeGreaterThanOrEqual(50);
});

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'manifests-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

test('directories are read in the order of names, links and subdirectories included', async () => {
  await mkdir(join(directory, 'sub'));
  await writeFile(join(directory, 'b.yaml'), yaml('b', 'red'));
  await writeFile(join(directory, 'a.json'), JSON.stringify(rawWidget('a', 'red')));
  await writeFile(join(directory, 'sub', 'c.yml'), yaml('c', 'red'));
  await symlink(directory, join(directory, 'sub', 'loop'));
  await symlink('nowhere', join(directory, 'dangling.yaml'));
  for (const name of ['notes.txt', '.#a.yaml', 'b.yaml~']) {
    await writeFile(join(directory, name), 'not: [a manifest');
  }
  const set = await readManifestPaths([directory], kinds);
  expect(names(set)).toEqual(['default/a:red', 'default/b:red', 'default/c:red']);
  expect(set.problems).toEqual([]);
});

test('a mounted ConfigMap is read once', async () => {
  await mkdir(join(directory, '..2026_01'));
  await writeFile(join(directory, '..2026_01', 'a.yaml'), yaml('a', 'red'));
  await symlink('..2026_01', join(directory, '..data'));
  await symlink('..data/a.yaml', join(directory, 'a.yaml'));
  const set = await readManifestPaths([directory], kinds);
  expect(names(set)).toEqual(['default/a:red']);
  expect(set.problems).toEqual([]);
});

test('a path that is not there is a problem, and the others are read', async () => {
  await writeFile(join(directory, 'a.yaml'), yaml('a', 'red'));
  const missing = join(directory, 'missing.yaml');
  const set = await readManifestPaths([missing, join(directory, 'a.yaml')], kinds);
  expect(names(set)).toEqual(['default/a:red']);
  expect(set.problems).toHaveLength(1);
  expect(set.problems[0]).toMatchObject({ file: missing, document: 0, unusable: true });
});
