/** PersistentVolumeClaims of pods: what they are bound to, what is told while that cannot be had, and that a pod keeps it. */
import { chown, lstat, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { ObjectAnswer } from '../../../../src/kubelet/api/object-api.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { selectsNode } from '../../../../src/kubelet/sources/node-affinity.ts';
import { Claims } from '../../../../src/kubelet/volumes/claims.ts';
import { PodDirectories } from '../../../../src/kubelet/volumes/pod-directories.ts';
import { PodVolumes } from '../../../../src/kubelet/volumes/volumes.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { ManualClock, recordingLog } from '../../informer/widgets.ts';
import { FakeMounts } from '../support/fake-mounts.ts';
import { container, pod } from '../support/pods.ts';

const { signal } = new AbortController();
const claimPath = '/api/v1/namespaces/shop/persistentvolumeclaims/data';
const volumePath = '/api/v1/persistentvolumes/pv-1';

let root: string;
let disk: string;
let events: string[];
let asked: string[];
let timed: string[];
/** What the API server has, by path; a number is the status of an answer without an object. */
let objects: Record<string, object | number>;
/** So many answers come before the node authoriser has heard of the pod. */
let refusals: number;
const { log } = recordingLog();

beforeEach(async () => {
  root = ownFolder('swy-claims');
  disk = join(root, 'disk');
  await mkdir(disk);
  events = [];
  asked = [];
  timed = [];
  refusals = 0;
  objects = { [claimPath]: claim(), [volumePath]: volume({ local: { path: disk } }) };
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

function claim(spec: object = {}, phase = 'Bound'): object {
  const metadata = { name: 'data', uid: 'claim-1' };
  return { metadata, spec: { volumeName: 'pv-1', ...spec }, status: { phase } };
}

function volume(source: object): object {
  const claimRef = { namespace: 'shop', name: 'data', uid: 'claim-1' };
  const general = { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], claimRef };
  return { metadata: { name: 'pv-1', uid: 'pv' }, spec: { ...general, ...source } };
}

async function get(path: string): Promise<ObjectAnswer> {
  asked.push(path);
  const found = refusals-- > 0 ? 403 : (objects[path] ?? 404);
  if (typeof found === 'number')
    return { status: found, object: undefined, reason: `status ${found}`, retryAfterMs: undefined };
  return { status: 200, object: found as never, reason: '', retryAfterMs: undefined };
}

function agent(): PodVolumes {
  const clock = new ManualClock();
  return new PodVolumes({
    directories: new PodDirectories(join(root, 'kubelet')),
    mounts: new FakeMounts(),
    sources: { objects: undefined, tokens: undefined, allocatable: () => undefined },
    claims: new Claims({
      claims: { get },
      volumes: { get },
      clock: { sleep: async () => {} },
      isNode: (selector) => selectsNode(selector, { name: 'n1', labels: { disk: 'fast' } }),
    }),
    tokens: undefined,
    events: { tell: (_pod, { reason, message }) => events.push(`${reason} ${message}`) },
    meter: {
      volumeSetUp: (plugin, _seconds, failed) =>
        timed.push(`${plugin} ${failed ? 'failed' : 'ok'}`),
    },
    clock,
    random: () => 0.5,
    log,
  });
}

function claiming(readOnly = false, spec: Partial<Pod['spec']> = {}): Pod {
  const volumeMounts = [{ name: 'v', mountPath: '/data' }];
  const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'data', readOnly } }];
  return pod({ volumes, containers: [container({ volumeMounts })], ...spec });
}

function affinity(key: string): object {
  const matchExpressions = [{ key, operator: 'Exists' }];
  return { nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions }] } } };
}

describe('a claim that is bound', () => {
  it('is told of with its folder while a pod has it, and timed as the volume that it is', async () => {
    const volumes = agent();
    await volumes.setUp(claiming(), signal);
    await volumes.setUp(claiming(), signal);
    expect(volumes.claims()).toEqual([
      { uid: 'uid-1', volume: 'v', namespace: 'shop', claim: 'data', path: disk },
    ]);
    const plugin = 'kubernetes.io/local-volume';
    expect(volumes.counts()).toEqual([{ plugin, desired: 1, actual: 1 }]);
    expect(timed).toEqual([`${plugin} ok`]);
    await volumes.tearDown('uid-1');
    expect([volumes.claims(), volumes.counts()]).toEqual([[], []]);
  });

  it('is no volume while nobody knows what it is', async () => {
    const volumes = agent();
    objects[volumePath] = 404;
    await expect(volumes.setUp(claiming(), signal)).rejects.toThrow('failed to fetch PV');
    expect([volumes.claims(), volumes.counts(), timed]).toEqual([[], [], []]);
  });

  it.each([
    ['local', 'fast'],
    ['hostPath', 'of the same type'],
  ])('to a %s volume is its folder', async (source) => {
    const type = source === 'hostPath' ? { type: 'Directory' } : {};
    objects[volumePath] = volume({ [source]: { path: disk, ...type }, ...affinity('disk') });
    const mounted = await agent().setUp(claiming(), signal);
    const managed = source === 'local';
    expect(mounted.get('v')).toEqual({ hostPath: disk, readOnly: false, managed });
    expect(events).toEqual([]);
  });

  it('is read-only where the pod says so', async () => {
    const mounted = await agent().setUp(claiming(true), signal);
    expect(mounted.get('v')?.readOnly).toBe(true);
  });

  it('is asked for once: a pod keeps what it has, also after the agent was started anew', async () => {
    const first = agent();
    await first.setUp(claiming(), signal);
    await first.setUp(claiming(), signal);
    expect(asked).toEqual([claimPath, volumePath]);
    objects = {};
    const mounted = await agent().setUp(claiming(), signal);
    expect(mounted.get('v')?.hostPath).toBe(disk);
    expect(asked).toHaveLength(2);
  });

  it('is asked for again while the node authoriser has not heard of the pod', async () => {
    refusals = 3;
    await expect(agent().setUp(claiming(), signal)).resolves.toBeDefined();
    expect(asked).toHaveLength(3 + 2);
  });

  it('outlives its pod', async () => {
    const volumes = agent();
    await writeFile(join(disk, 'kept'), 'here');
    await volumes.setUp(claiming(), signal);
    await volumes.tearDown('uid-1');
    expect((await lstat(join(disk, 'kept'))).isFile()).toBe(true);
    expect(await volumes.known()).toEqual([]);
  });
});

const failed = 'FailedMount MountVolume.SetUp failed for volume "v" : ';
const processing = `${failed}error processing PVC shop/data: `;

describe('a pod waits, with an Event, where', () => {
  it.each<[string, () => void, string]>([
    [
      'there is no claim',
      () => delete objects[claimPath],
      `${processing}failed to fetch PVC from API server: persistentvolumeclaim "data" not found`,
    ],
    [
      'the claim is not bound',
      () => (objects[claimPath] = claim({ volumeName: '' }, 'Pending')),
      `${processing}PVC is not bound`,
    ],
    [
      'its binding is not done',
      () => (objects[claimPath] = claim({}, 'Pending')),
      `${processing}PVC is not bound`,
    ],
    [
      'it is bound to a device',
      () => (objects[claimPath] = claim({ volumeMode: 'Block' })),
      `${failed}volume v has volumeMode Block, but is specified in volumeMounts`,
    ],
    [
      'the volume is that of another claim',
      () => (objects[claimPath] = { ...claim(), metadata: { name: 'data', uid: 'other' } }),
      `${processing}PV pv-1 is bound to another claim`,
    ],
    [
      'the claim is being deleted',
      () => {
        const metadata = {
          name: 'data',
          uid: 'claim-1',
          deletionTimestamp: '2026-01-01T00:00:00Z',
        };
        objects[claimPath] = { ...claim(), metadata };
      },
      `${processing}PVC is being deleted`,
    ],
    [
      'the volume is of another kind',
      () => (objects[volumePath] = volume({ csi: { driver: 'd' } })),
      `${failed}PersistentVolume pv-1: spec.csi: volumes of this kind are not supported, only hostPath and local`,
    ],
    [
      'the volume has options of a mount',
      () => (objects[volumePath] = volume({ local: { path: '/x' }, mountOptions: ['ro'] })),
      `${failed}PersistentVolume pv-1: spec.mountOptions: Mount options are not supported for this volume type`,
    ],
    [
      'the volume is on another node',
      () => (objects[volumePath] = volume({ local: { path: '/x' }, ...affinity('tape') })),
      `${failed}PersistentVolume pv-1: node affinity: no matching NodeSelectorTerms`,
    ],
    [
      'the path of the volume leads up',
      () => (objects[volumePath] = volume({ hostPath: { path: '/srv/../etc' } })),
      `${failed}PersistentVolume pv-1: spec.hostPath.path: expected an absolute path without ".."`,
    ],
    [
      'the folder of the volume is not there',
      () => (objects[volumePath] = volume({ local: { path: '/nowhere/at/all' } })),
      `${failed}PersistentVolume pv-1: path "/nowhere/at/all" does not exist`,
    ],
    [
      'the folder of the volume is none',
      () => (objects[volumePath] = volume({ local: { path: '/dev/null' } })),
      `${failed}PersistentVolume pv-1: path "/dev/null" is no directory`,
    ],
  ])('%s', async (_what, spoil, expected) => {
    const whole = { ...objects };
    spoil();
    const volumes = agent();
    await expect(volumes.setUp(claiming(), signal)).rejects.toThrow('MountVolume.SetUp failed');
    expect(events).toEqual([expected]);
    objects = whole;
    await expect(volumes.setUp(claiming(), signal)).resolves.toBeDefined();
  });
});

async function groupOf(path: string): Promise<string> {
  const { gid, mode } = await lstat(path);
  return `${gid} ${(mode & 0o7777).toString(8)}`;
}

const nested = (levels: number): string => join(disk, ...Array<string>(levels).fill('d'));

describe('fsGroup', () => {
  const securityContext = { fsGroup: 4242 };

  beforeEach(async () => {
    await mkdir(join(disk, 'sub'), { mode: 0o700 });
    await writeFile(join(disk, 'sub/file'), '', { mode: 0o600 });
    await writeFile(join(root, 'outside'), '', { mode: 0o600 });
    await chown(join(root, 'outside'), 0, 0);
    await symlink(join(root, 'outside'), join(disk, 'link'));
  });

  it('has all of a local volume, and nothing that a link in it leads to', async () => {
    await agent().setUp(claiming(false, { securityContext }), signal);
    expect(await groupOf(join(disk, 'sub'))).toBe('4242 2770');
    expect(await groupOf(join(disk, 'sub/file'))).toBe('4242 660');
    expect((await lstat(join(disk, 'link'))).gid).toBe(4242);
    expect(await groupOf(join(root, 'outside'))).toBe('0 600');
  });

  it('is refused where folders are deeper one in another than handles may be open', async () => {
    await mkdir(nested(255), { recursive: true });
    await agent().setUp(claiming(false, { securityContext }), signal);
    expect((await lstat(nested(255))).gid).toBe(4242);
    await mkdir(nested(256), { mode: 0o700 });
    const other = claiming(false, { securityContext });
    await expect(
      agent().setUp({ ...other, metadata: { ...other.metadata, uid: 'uid-2' } }, signal),
    ).rejects.toThrow('more than 256 folders one in another');
    expect((await lstat(nested(256))).mode & 0o777).toBe(0o700);
  });

  it('changes nothing of one that is read-only, nor of a hostPath', async () => {
    await agent().setUp(claiming(true, { securityContext }), signal);
    objects[volumePath] = volume({ hostPath: { path: disk } });
    const other = claiming(false, { securityContext });
    await agent().setUp({ ...other, metadata: { ...other.metadata, uid: 'uid-2' } }, signal);
    expect(await groupOf(join(disk, 'sub/file'))).toBe('0 600');
  });
});
