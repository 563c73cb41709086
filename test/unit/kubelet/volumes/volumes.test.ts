/** What a pod's volumes hold, what is told where one cannot be had, and what is left afterwards; without a kernel's mounts. */
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join, relative } from 'node:path';
import process from 'node:process';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Volume } from '../../../../src/kubelet/pod/volume.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { quantityOf } from '../../../../src/kubelet/pod/quantity.ts';
import { PodDirectories } from '../../../../src/kubelet/volumes/pod-directories.ts';
import { PodVolumes } from '../../../../src/kubelet/volumes/volumes.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { ManualClock, recordingLog } from '../../informer/widgets.ts';
import { FakeMounts } from '../support/fake-mounts.ts';
import { knownObjects } from '../support/known-objects.ts';
import type { Known } from '../support/known-objects.ts';
import { container, pod } from '../support/pods.ts';

const { signal } = new AbortController();

let root: string;
let mounts: FakeMounts;
let events: string[];
let clock: ManualClock;
let known: Known;
let tokens: string[];
let timed: string[];
const { lines, log } = recordingLog();

beforeEach(() => {
  root = ownFolder('swy-volumes');
  mounts = new FakeMounts();
  events = [];
  clock = new ManualClock();
  known = {
    configMaps: { 'shop/settings': { COLOR: 'red', SIZE: '7' } },
    secrets: { 'shop/keys': { key: 'geheim' } },
  };
  tokens = [];
  timed = [];
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

function agent(): PodVolumes {
  return new PodVolumes({
    directories: new PodDirectories(root),
    mounts,
    sources: {
      objects: knownObjects(known),
      tokens: {
        token: async ({ metadata }, { audience }) => {
          tokens.push(`${metadata.uid} ${audience}`);
          return `token for ${audience}`;
        },
      },
      allocatable: (resource) => (resource === 'memory' ? quantityOf('1Gi') : quantityOf('2')),
    },
    claims: undefined,
    tokens: { forget: (uid) => tokens.push(`forget ${uid}`) },
    events: {
      tell: (_pod, { type, reason, message }) => events.push(`${type} ${reason} ${message}`),
    },
    meter: {
      volumeSetUp: (plugin, _seconds, failed) =>
        timed.push(`${plugin} ${failed ? 'failed' : 'ok'}`),
    },
    clock,
    random: () => 0.5,
    log,
  });
}

function podWith(volumes: readonly Volume[], spec: Partial<Pod['spec']> = {}): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  const metadata = {
    labels: { tier: 'front', app: 'web' },
    annotations: { note: 'a "b"\nc\u0007ü\u200b' },
  };
  return pod({ volumes, containers: [container({ volumeMounts })], ...spec }, metadata);
}

async function filesIn(path: string): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  const data = join(path, '..data');
  for (const entry of await readdir(data, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const at = join(entry.parentPath, entry.name);
    const mode = ((await lstat(at)).mode & 0o7777).toString(8);
    found[`${relative(data, at)} ${mode}`] = await readFile(at, 'utf8');
  }
  return found;
}

const settings: Volume = { name: 'v', configMap: { name: 'settings', defaultMode: 0o644 } };
const keys: Volume = { name: 'v', secret: { secretName: 'keys', defaultMode: 0o400 } };

describe('what volumes hold', () => {
  it.each<[string, Volume, Readonly<Record<string, string>>]>([
    ['a configMap', settings, { 'COLOR 644': 'red', 'SIZE 644': '7' }],
    [
      'items of a configMap',
      {
        name: 'v',
        configMap: {
          name: 'settings',
          defaultMode: 0o600,
          items: [
            { key: 'COLOR', path: 'look/color', mode: 0o444 },
            { key: 'SIZE', path: 'size' },
          ],
        },
      },
      { 'look/color 444': 'red', 'size 600': '7' },
    ],
    [
      'an optional configMap that is not there',
      { name: 'v', configMap: { name: 'none', optional: true, defaultMode: 0o644 } },
      {},
    ],
    [
      'an item that is not there',
      {
        name: 'v',
        configMap: {
          name: 'settings',
          optional: true,
          defaultMode: 0o644,
          items: [{ key: 'NONE', path: 'none' }],
        },
      },
      {},
    ],
    ['a secret', keys, { 'key 400': 'geheim' }],
    [
      'the downward API',
      {
        name: 'v',
        downwardAPI: {
          defaultMode: 0o644,
          items: [
            { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
            { path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' } },
            { path: 'none', fieldRef: { fieldPath: "metadata.labels['none']" } },
            {
              path: 'cpu',
              mode: 0o400,
              resourceFieldRef: { containerName: 'app', resource: 'limits.cpu', divisor: '1m' },
            },
          ],
        },
      },
      {
        'labels 644': 'app="web"\ntier="front"',
        'annotations 644': String.raw`note="a \"b\"\nc\aü\u200b"`,
        'none 644': '',
        'cpu 400': '2000',
      },
    ],
    [
      'a projection of all',
      {
        name: 'v',
        projected: {
          defaultMode: 0o440,
          sources: [
            { configMap: { name: 'settings', items: [{ key: 'COLOR', path: 'c/color' }] } },
            { secret: { name: 'keys' } },
            {
              downwardAPI: {
                items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }],
              },
            },
            { serviceAccountToken: { path: 'token', audience: 'vault', expirationSeconds: 600 } },
          ],
        },
      },
      {
        'c/color 440': 'red',
        'key 440': 'geheim',
        'namespace 440': 'shop',
        'token 440': 'token for vault',
      },
    ],
  ])('%s', async (_what, volume, files) => {
    const found = await agent().setUp(podWith([volume]), signal);
    expect(found.get('v')).toMatchObject({ readOnly: true, managed: true });
    expect(await filesIn(found.get('v')?.hostPath ?? '')).toEqual(files);
    expect(events).toEqual([]);
  });

  it('lie where upstream has them, those with secrets in memory', async () => {
    const volumes: readonly Volume[] = [
      { ...settings, name: 'map' },
      { ...keys, name: 'keys' },
      { name: 'token', projected: { defaultMode: 0o644, sources: [] } },
      { name: 'down', downwardAPI: { defaultMode: 0o644 } },
      { name: 'disk', emptyDir: {} },
      { name: 'fast', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
      { name: 'node', hostPath: { path: root } },
    ];
    const found = await agent().setUp(podWith(volumes), signal);
    const at = join(root, 'pods/uid-1/volumes');
    expect(Array.from(found, ([name, { hostPath }]) => [name, hostPath])).toEqual([
      ['map', join(at, 'kubernetes.io~configmap/map')],
      ['keys', join(at, 'kubernetes.io~secret/keys')],
      ['token', join(at, 'kubernetes.io~projected/token')],
      ['down', join(at, 'kubernetes.io~downward-api/down')],
      ['disk', join(at, 'kubernetes.io~empty-dir/disk')],
      ['fast', join(at, 'kubernetes.io~empty-dir/fast')],
      ['node', root],
    ]);
    expect(mounts.calls).toEqual([
      `tmpfs ${join(at, 'kubernetes.io~secret/keys')} 1073741824 0777`,
      `tmpfs ${join(at, 'kubernetes.io~projected/token')} 1073741824 0777`,
      `tmpfs ${join(at, 'kubernetes.io~downward-api/down')} 1073741824 0777`,
      `tmpfs ${join(at, 'kubernetes.io~empty-dir/fast')} 67108864 0777`,
    ]);
    expect((await lstat(join(at, 'kubernetes.io~empty-dir/disk'))).mode & 0o7777).toBe(0o777);
    expect((await lstat(join(root, 'pods/uid-1'))).mode & 0o7777).toBe(0o750);
    const markers = join(root, 'pods/uid-1/plugins/kubernetes.io~empty-dir');
    expect((await readdir(markers)).toSorted()).toEqual([
      'disk',
      'fast',
      'wrapped_down',
      'wrapped_keys',
      'wrapped_map',
      'wrapped_token',
    ]);
  });

  it('are only those that a container mounts', async () => {
    const spec = { containers: [container({ volumeMounts: [{ name: 'v', mountPath: '/v' }] })] };
    const volumes: readonly Volume[] = [settings, { name: 'unused', configMap: missing }];
    expect([...(await agent().setUp(podWith(volumes, spec), signal)).keys()]).toEqual(['v']);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'have a token for its user alone where all containers run as one',
    async () => {
      const volume: Volume = {
        name: 'v',
        projected: {
          defaultMode: 0o644,
          sources: [{ serviceAccountToken: { path: 'token', expirationSeconds: 600 } }],
        },
      };
      const asUser = podWith([volume], { securityContext: { runAsUser: 1000 } });
      const found = await agent().setUp(asUser, signal);
      const token = join(found.get('v')?.hostPath ?? '', 'token');
      const target = join(found.get('v')?.hostPath ?? '', '..data', 'token');
      expect(await readFile(token, 'utf8')).toBe('token for ');
      const { mode, uid } = await lstat(target);
      expect([mode & 0o7777, uid]).toEqual([0o600, 1000]);
    },
  );
});

const missing = { name: 'none', defaultMode: 0o644 };

describe('what cannot be set up', () => {
  it.each<[Volume, string]>([
    [{ name: 'v', configMap: missing }, 'configmap "none" not found'],
    [{ name: 'v', secret: { secretName: 'none', defaultMode: 0o644 } }, 'secret "none" not found'],
    [
      {
        name: 'v',
        configMap: { name: 'settings', defaultMode: 0o644, items: [{ key: 'X', path: 'x' }] },
      },
      'references non-existent config key: X',
    ],
    [
      {
        name: 'v',
        secret: { secretName: 'keys', defaultMode: 0o644, items: [{ key: 'X', path: 'x' }] },
      },
      'references non-existent secret key: X',
    ],
    [
      {
        name: 'v',
        projected: {
          defaultMode: 0o644,
          sources: [{ configMap: { name: 'none' } }, { secret: { name: 'none' } }],
        },
      },
      '[configmap "none" not found, secret "none" not found]',
    ],
    [
      { name: 'v', hostPath: { path: '/proc/version', type: 'Directory' } },
      'hostPath type check failed: /proc/version is not a directory',
    ],
    [
      { name: 'v', hostPath: { path: '/proc', type: 'Socket' } },
      'hostPath type check failed: /proc is not a socket file',
    ],
    [
      { name: 'v', hostPath: { path: '/proc', type: 'CharDevice' } },
      'hostPath type check failed: /proc is not a character device',
    ],
    [
      { name: 'v', hostPath: { path: '/a/../b' } },
      'hostPath /a/../b: expected a path without ".."',
    ],
    [{ name: 'v', emptyDir: { medium: 'HugePages' } }, 'medium HugePages is not supported'],
    [{ name: 'v' }, 'a volume of this kind is not supported'],
  ])('%j: %s', async (volume, reason) => {
    const message = `MountVolume.SetUp failed for volume "v" : ${reason}`;
    await expect(agent().setUp(podWith([volume]), signal)).rejects.toThrow(message);
    expect(events).toEqual([`Warning FailedMount ${message}`]);
    await expect(lstat(join(root, 'pods/uid-1/volumes'))).rejects.toThrow('ENOENT');
  });

  it('is told ever more rarely, and again at once where the reason is another', async () => {
    const volumes = agent();
    const of = podWith([{ name: 'v', configMap: missing }]);
    const told: number[] = [];
    for (let i = 0; i < 3000; i++) {
      await expect(volumes.setUp(of, signal)).rejects.toThrow('not found');
      if (events.splice(0).length > 0) told.push(i / 10);
      clock.advance(100);
    }
    expect(told.slice(0, 5)).toEqual([0, 0.5, 1.5, 3.5, 7.5]);
    known.configMaps = { 'shop/none': {} };
    await volumes.setUp(of, signal);
    known.configMaps = {};
    await volumes.setUp(of, signal);
    expect(events).toEqual([
      'Warning FailedMount MountVolume.SetUp failed for volume "v" : configmap "none" not found',
    ]);
  });
});

describe('who counts and times volumes', () => {
  it('is told of each that is set up or brought up to date, and of those that fail', async () => {
    const volumes = agent();
    const web = podWith([
      { name: 'a', emptyDir: {} },
      { name: 'b', configMap: { name: 'settings', defaultMode: 0o644 } },
      { name: 'c', secret: { secretName: 'none', defaultMode: 0o644 } },
    ]);
    await expect(volumes.setUp(web, signal)).rejects.toThrow('"none" not found');
    expect(timed.splice(0)).toEqual([
      'kubernetes.io/empty-dir ok',
      'kubernetes.io/configmap ok',
      'kubernetes.io/secret failed',
    ]);
    expect(volumes.counts()).toEqual([
      { plugin: 'kubernetes.io/configmap', desired: 1, actual: 1 },
      { plugin: 'kubernetes.io/empty-dir', desired: 1, actual: 1 },
      { plugin: 'kubernetes.io/secret', desired: 1, actual: 0 },
    ]);
    await expect(volumes.setUp(web, signal)).rejects.toThrow('"none" not found');
    expect(timed).toEqual(['kubernetes.io/configmap ok', 'kubernetes.io/secret failed']);
    await volumes.tearDown(web.metadata.uid);
    expect(volumes.counts()).toEqual([]);
  });
});

describe('an update', () => {
  it('is written with the next sync; what is gone stays as it was, also after a restart', async () => {
    const of = podWith([settings]);
    const volumes = agent();
    const { hostPath = '' } = (await volumes.setUp(of, signal)).get('v') ?? {};
    known.configMaps = { 'shop/settings': { COLOR: 'green' } };
    await volumes.setUp(of, signal);
    expect(await filesIn(hostPath)).toEqual({ 'COLOR 644': 'green' });
    known.configMaps = {};
    await volumes.setUp(of, signal);
    await agent().setUp(of, signal);
    expect(await filesIn(hostPath)).toEqual({ 'COLOR 644': 'green' });
    expect(events).toHaveLength(2);
  });

  it('is of what was touched by others, too; what nobody has touched is not written', async () => {
    const volumes = agent();
    const items = [
      { key: 'COLOR', path: 'COLOR' },
      { key: 'SIZE', path: 'a/b/size' },
    ];
    const of = podWith([{ name: 'v', configMap: { name: 'settings', items, defaultMode: 0o644 } }]);
    const { hostPath = '' } = (await volumes.setUp(of, signal)).get('v') ?? {};
    const meant = await filesIn(hostPath);
    const generation = await readlink(join(hostPath, '..data'));
    const color = join(hostPath, '..data', 'COLOR');
    for (let i = 0; i < 3; i++) await volumes.setUp(of, signal);
    expect(await readlink(join(hostPath, '..data'))).toBe(generation);
    const deeds: readonly (() => Promise<unknown>)[] = [
      async () => writeFile(color, 'RED'),
      async () => chmod(color, 0o600),
      async () => rm(color),
      async () => writeFile(join(hostPath, '..data', 'more'), ''),
      async () => writeFile(join(hostPath, '..data', 'a', 'more'), ''),
      async () => rm(join(hostPath, '..data', 'a'), { recursive: true }),
      async () => rm(join(hostPath, 'COLOR')),
      async () => rm(join(hostPath, '..data')),
      async () => {
        await rm(join(hostPath, '..data'));
        await symlink('..data', join(hostPath, '..data'));
      },
      async () => rm(hostPath, { recursive: true }),
    ];
    for (const deed of deeds) {
      await deed();
      for (let i = 0; i < 3; i++) await volumes.setUp(of, signal);
      expect(await filesIn(hostPath)).toEqual(meant);
      expect(await readFile(join(hostPath, 'COLOR'), 'utf8')).toBe('red');
    }
  });

  it('is not looked for again in what was found right and nobody has touched', async () => {
    const volumes = agent();
    const of = podWith([keys]);
    const { hostPath = '' } = (await volumes.setUp(of, signal)).get('v') ?? {};
    await volumes.setUp(of, signal);
    const look = vi.spyOn(mounts, 'begins');
    await volumes.setUp(of, signal);
    expect(look).not.toHaveBeenCalled();
    await writeFile(join(hostPath, '..data', 'key'), 'verraten');
    await volumes.setUp(of, signal);
    expect(look).toHaveBeenCalledOnce();
    expect(await filesIn(hostPath)).toEqual({ 'key 400': 'geheim' });
  });

  it('empties an optional volume whose object is gone', async () => {
    const volumes = agent();
    const of = podWith([
      { name: 'v', secret: { secretName: 'keys', optional: true, defaultMode: 0o644 } },
    ]);
    const { hostPath = '' } = (await volumes.setUp(of, signal)).get('v') ?? {};
    expect(await filesIn(hostPath)).toEqual({ 'key 644': 'geheim' });
    known.secrets = {};
    await volumes.setUp(of, signal);
    expect(await filesIn(hostPath)).toEqual({});
    expect(events).toEqual([]);
  });
});

describe('the end', () => {
  it('leaves nothing: the last mounted is unmounted first', async () => {
    const volumes = agent();
    const of = podWith([
      { ...keys, name: 'keys' },
      { name: 'disk', emptyDir: {} },
    ]);
    const found = await volumes.setUp(of, signal);
    const disk = found.get('disk')?.hostPath ?? '';
    await writeFile(join(disk, 'file'), 'x');
    await mkdir(join(disk, 'inner'));
    mounts.add(join(disk, 'inner'), 'ext4');
    expect(await volumes.known()).toEqual(['uid-1']);
    mounts.calls.length = 0;
    await volumes.tearDown('uid-1');
    expect(mounts.calls).toEqual([
      `unmount ${join(disk, 'inner')}`,
      `unmount ${found.get('keys')?.hostPath}`,
    ]);
    expect(await volumes.known()).toEqual([]);
    expect(tokens).toEqual(['forget uid-1']);
    // what is gone already is no failure
    await volumes.tearDown('uid-1');
  });

  it('removes nothing where something stays mounted', async () => {
    const volumes = agent();
    const found = await volumes.setUp(podWith([{ name: 'v', emptyDir: {} }]), signal);
    const file = join(found.get('v')?.hostPath ?? '', 'file');
    await writeFile(file, 'x');
    mounts.add(join(root, 'pods/uid-1/volumes'), 'ext4');
    mounts.unmount = async () => undefined;
    await expect(volumes.tearDown('uid-1')).rejects.toThrow('is still mounted');
    expect(await readFile(file, 'utf8')).toBe('x');
  });

  it('is no end for what another process set up: a new one takes it over', async () => {
    const of = podWith([
      { name: 'v', emptyDir: {} },
      { name: 'fast', emptyDir: { medium: 'Memory' } },
    ]);
    const found = await agent().setUp(of, signal);
    const file = join(found.get('v')?.hostPath ?? '', 'file');
    await writeFile(file, 'x');
    mounts.calls.length = 0;
    const next = agent();
    expect(await next.known()).toEqual(['uid-1']);
    expect(await next.setUp(of, signal)).toEqual(found);
    expect(mounts.calls).toEqual([]);
    expect(await readFile(file, 'utf8')).toBe('x');
    // after a reboot
    mounts = new FakeMounts();
    await agent().setUp(of, signal);
    expect(mounts.calls).toHaveLength(1);
  });
});

describe('secrets', () => {
  it('are in no event, error or line of the log', async () => {
    const volumes = agent();
    const volume: Volume = {
      name: 'v',
      secret: {
        secretName: 'keys',
        defaultMode: 0o644,
        items: [{ key: 'key', path: 'x'.repeat(300) }],
      },
    };
    const failure = await volumes.setUp(podWith([volume]), signal).then(() => 'no failure', String);
    expect(failure).toContain('invalid path');
    expect([failure, ...events, ...lines].join('\n')).not.toContain('geheim');
  });
});
