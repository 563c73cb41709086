/** Storage that a pod claims, and that outlives it: PersistentVolumes that are folders of the node. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { TestPod, isReady } from './test-pod.ts';
import type { ApiPod } from './test-pod.ts';
import { forever, one } from './trial.ts';
import type { Trial } from './trial.ts';

/** As in the scenarios of other volumes: sooner than a pod is looked at that has settled. */
const soonSeconds = 40;
const claims = '/api/v1/namespaces/default/persistentvolumeclaims';
const volumes = '/api/v1/persistentvolumes';

/** A PersistentVolume for this claim alone, in a folder of the node that it gives. */
async function volume(trial: Trial, forClaim: string, source: 'local' | 'hostPath') {
  const { world } = trial;
  const folder = trial.folder();
  const isHere = { key: 'kubernetes.io/hostname', operator: 'In', values: [world.node] };
  await world.cluster.control.must('POST', volumes, {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: forClaim },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Retain',
      claimRef: { namespace: 'default', name: forClaim },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [isHere] }] } },
      [source]: { path: folder.path },
    },
  });
  trial.leave(async () => {
    await world.cluster.control.must('DELETE', `${volumes}/${forClaim}`);
  });
  return {
    /** Waits until a file in it has this text. */
    has: async (file: string, text: string): Promise<void> =>
      world.until(`${file} is ${JSON.stringify(text)}`, () => {
        try {
          return folder.read(file) === text;
        } catch {
          return false;
        }
      }),
  };
}

const wanted = {
  accessModes: ['ReadWriteOnce'],
  storageClassName: '',
  resources: { requests: { storage: '1Gi' } },
};

async function claim(trial: Trial, name: string): Promise<void> {
  await trial.create('PersistentVolumeClaim', 'persistentvolumeclaims', {
    metadata: { name },
    spec: wanted,
  });
  trial.leave(async () => {
    await trial.world.cluster.control.must('DELETE', `${claims}/${name}`);
  });
}

function holding(claimName: string, script: string, more: object = {}): object {
  const volumeMounts = [
    { name: 'data', mountPath: '/data' },
    { name: 'data', mountPath: '/part', subPath: 'part', readOnly: true },
  ];
  return {
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
    ...one(script, { volumeMounts }),
    ...more,
  };
}

export const claimed: readonly Scenario[] = [
  {
    number: 109,
    title: 'a pod waits until its claim is bound; what it writes then is there for the next pod',
    async run(trial) {
      const name = trial.name();
      await claim(trial, name);
      const first = await trial.pod(holding(name, `echo kept > /data/file; ${forever}`));
      await first.event('FailedMount', `error processing PVC default/${name}: PVC is not bound`);
      await first.waiting('ContainerCreating');
      const folder = await volume(trial, name, 'local');
      await first.waitFor('it runs', isReady, soonSeconds);
      await folder.has('file', 'kept\n');
      await first.remove();
      await folder.has('file', 'kept\n');
      const next = await trial.pod(holding(name, `cat /data/file > /data/part/file; ${forever}`));
      await next.running();
      await folder.has('part/file', 'kept\n');
      expect(await next.exec('main', 'cat', '/part/file')).toBe('kept\n');
    },
  },
  {
    number: 110,
    title: 'a StatefulSet has its data again when its pod was deleted and made anew',
    async run(trial) {
      const { world } = trial;
      const name = trial.name();
      const folder = await volume(trial, `data-${name}-0`, 'hostPath');
      trial.leave(async () => {
        await world.cluster.control.must('DELETE', `${claims}/data-${name}-0`);
      });
      const labels = { app: name };
      const script = `echo run >> /data/runs; ${forever}`;
      const template = {
        metadata: { labels },
        spec: {
          nodeName: world.node,
          terminationGracePeriodSeconds: 2,
          ...one(script, { volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
        },
      };
      const sets = '/apis/apps/v1/namespaces/default/statefulsets';
      await world.cluster.control.must('POST', sets, {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name },
        spec: {
          serviceName: name,
          selector: { matchLabels: labels },
          template,
          volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: wanted }],
        },
      });
      const member = async (than = ''): Promise<TestPod> => {
        let found: ApiPod | undefined;
        await world.until(`${name}-0 is there`, async () => {
          found = await world.cluster.get(`/api/v1/namespaces/default/pods/${name}-0`);
          return found !== undefined && found.metadata.uid !== than;
        });
        return new TestPod(world, found?.metadata ?? { name, uid: '' });
      };
      const first = await member();
      await first.waitFor('it runs', isReady, soonSeconds);
      await folder.has('runs', 'run\n');
      await first.delete();
      const next = await member(first.uid);
      await next.running();
      await folder.has('runs', 'run\nrun\n');
      await world.cluster.control.must('DELETE', `${sets}/${name}`);
      await next.gone();
    },
  },
];
