// Mirror pods: one a static pod, of its very version.
import { expect, test } from 'vitest';
import type { ObjectAnswer } from '../../../../src/kubelet/api/object-api.ts';
import { defaultPod } from '../../../../src/kubelet/pod/default-pod.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { MirrorPods } from '../../../../src/kubelet/sources/mirror-pods.ts';
import { readStaticPod } from '../../../../src/kubelet/sources/read-static-pod.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';

const { signal } = new AbortController();
const owner = { name: 'n1', uid: 'node-uid' };

function staticPod(image = 'a'): Pod {
  const raw = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web' },
    spec: { containers: [{ name: 'app', image }] },
  };
  return readStaticPod(JSON.stringify(raw), { source: 'file', place: '/a', nodeName: 'n1' });
}

interface Asked {
  readonly verb: string;
  readonly path: string;
  readonly value: unknown;
}

function mirrors(
  answers: readonly number[] = [],
  isOver = false,
): { asked: Asked[]; pods: MirrorPods } {
  const asked: Asked[] = [];
  const send = async (verb: string, path: string, value: unknown): Promise<ObjectAnswer> => {
    asked.push({ verb, path, value });
    const status = answers[asked.length - 1] ?? 200;
    const object = status < 300 ? { metadata: { name: '', uid: '' } } : undefined;
    return Promise.resolve({
      status,
      object,
      reason: `answered ${status}`,
      retryAfterMs: undefined,
    });
  };
  const options = { api: { send }, owner: () => owner, isOver: () => isOver, log: silentLog };
  return { asked, pods: new MirrorPods(options) };
}

function mirrorOf(pod: Pod, more: object = {}): Pod {
  const annotations = {
    ...pod.metadata.annotations,
    'kubernetes.io/config.mirror': pod.metadata.annotations['kubernetes.io/config.hash'],
  };
  return defaultPod({ metadata: { ...pod.metadata, uid: 'm', annotations, ...more }, spec: {} });
}

test('it is made with the node for its owner and without a UID', async () => {
  const { asked, pods } = mirrors();
  const pod = staticPod();
  await pods.ensure(pod, undefined, signal);
  expect(asked).toHaveLength(1);
  expect(asked[0]).toMatchObject({ verb: 'create', path: '/api/v1/namespaces/default/pods' });
  expect(asked[0]?.value).toHaveProperty('metadata', {
    name: 'web-n1',
    namespace: 'default',
    labels: {},
    annotations: {
      'kubernetes.io/config.hash': pod.metadata.uid,
      'kubernetes.io/config.mirror': pod.metadata.uid,
    },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Node', ...owner, controller: true }],
  });
});

test('one of this version stays', async () => {
  const { asked, pods } = mirrors();
  await pods.ensure(staticPod(), mirrorOf(staticPod()), signal);
  expect(asked).toEqual([]);
});

const deletionTimestamp = '2026-01-01T00:00:00Z';

test.for([
  ['of another version', mirrorOf(staticPod('b')), false],
  ['that is being deleted', mirrorOf(staticPod(), { deletionTimestamp }), false],
  ['that tells of an end that the pod has left behind', mirrorOf(staticPod()), true],
] as const)('one %s is replaced, itself and no other', async ([, mirror, isOver]) => {
  const { asked, pods } = mirrors([], isOver);
  await pods.ensure(staticPod(), mirror, signal);
  expect(asked.map(({ verb }) => verb)).toEqual(['delete', 'create']);
  expect(asked[0]).toMatchObject({
    path: '/api/v1/namespaces/default/pods/web-n1',
    value: { gracePeriodSeconds: 0, preconditions: { uid: 'm' } },
  });
});

test('what fails is tried again the next time', async () => {
  const { asked, pods } = mirrors([500, 409]);
  await pods.ensure(staticPod(), undefined, signal);
  await pods.ensure(staticPod(), undefined, signal);
  await pods.remove(mirrorOf(staticPod()), signal);
  expect(asked.map(({ verb }) => verb)).toEqual(['create', 'create', 'delete']);
});
