import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { layerTar } from '../../../scripts/image/tar.ts';
import { layer, mergedPath, Tree } from '../../../scripts/image/tree.ts';
import type { Entry } from '../../../scripts/image/tree.ts';

const file = (path: string, text = path, mode = 0o644): Entry => ({
  path,
  part: 'p',
  kind: 'file',
  mode,
  data: Buffer.from(text),
});
const link = (path: string, target: string): Entry => ({ path, part: 'p', kind: 'link', target });
const folder = (path: string, mode: number): Entry => ({ path, part: 'p', kind: 'folder', mode });

/** The tree of the image: members, links, and the archive of a layer. */
describe('a layer', () => {
  it('has its members sorted, each folder before what it holds', () => {
    const { entries } = layer('l', [file('b/c/d'), folder('b', 0o700), file('a')], 0);
    expect(entries.map(({ path }) => path)).toEqual(['a', 'b', 'b/c', 'b/c/d']);
    expect(entries[1]).toMatchObject({ kind: 'folder', mode: 0o700 });
    expect(entries[2]).toMatchObject({ kind: 'folder', mode: 0o755 });
  });

  it('refuses two members of one path', () => {
    expect(() => layer('l', [file('a'), link('a', 'b')], 0)).toThrow('a is in the image twice');
  });

  it.each([
    ['lib/x/y.so', 'usr/lib/x/y.so'],
    ['sbin/modprobe', 'usr/sbin/modprobe'],
    ['usr/lib/x', 'usr/lib/x'],
    ['libx/y', 'libx/y'],
  ])('takes /usr for merged: %s is %s', (path, expected) => {
    expect(mergedPath(path)).toBe(expected);
  });
});

describe('an archive', () => {
  const long = `${'long-folder-name/'.repeat(8)}file`;
  const entries = [
    file('bin/x', '1234', 0o755),
    link('l', 'bin/x'),
    folder('tmp', 0o1777),
    file(long),
  ];

  it('is one that tar reads, owned by root, with the time of its layer', () => {
    const input = layerTar(layer('l', entries, 86_400));
    const env = { ...process.env, TZ: 'UTC' };
    const listed = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--file=-'], {
      input,
      env,
      encoding: 'utf8',
    });
    const lines = listed.split('\n').map((line) => line.replaceAll(/ +/g, ' '));
    expect(lines).toContain('-rwxr-xr-x 0/0 4 1970-01-02 00:00 bin/x');
    expect(lines).toContain('lrwxrwxrwx 0/0 0 1970-01-02 00:00 l -> bin/x');
    expect(lines).toContain('drwxrwxrwt 0/0 0 1970-01-02 00:00 tmp/');
    expect(lines).toContain(`-rw-r--r-- 0/0 ${long.length} 1970-01-02 00:00 ${long}`);
  });

  it('is the same, whatever order its members came in', () => {
    const one = layerTar(layer('l', entries, 7));
    expect(layerTar(layer('l', entries.toReversed(), 7)).equals(one)).toBe(true);
    expect(layerTar(layer('l', entries, 8)).equals(one)).toBe(false);
  });
});

describe('the tree of all layers', () => {
  const tree = new Tree([
    layer(
      '1',
      [link('lib', 'usr/lib'), file('usr/lib/a.so.1.2'), link('usr/lib/a.so', 'a.so.1.2')],
      0,
    ),
    layer('2', [link('bin/up', '../lib/a.so'), link('bin/abs', '/lib/a.so'), link('gone', 'x')], 0),
    layer('3', [link('loop', 'loop')], 0),
  ]);

  it.each(['/lib/a.so', '/usr/lib/a.so.1.2', '/bin/up', '/bin/abs'])(
    'follows links: %s',
    (path) => {
      expect(tree.find(path)?.path).toBe('usr/lib/a.so.1.2');
    },
  );

  it('knows the links that lead nowhere', () => {
    expect(tree.deadLinks()).toEqual(['gone', 'loop']);
  });
});
