// The whole agent, in memory: a pod above its limit of storage is evicted, and its status is in the API; one within it goes on.
import { afterEach, expect, test } from 'vitest';
import { AgentLab } from '../support/agent-lab.ts';

let lab: AgentLab | undefined;

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

/** A pod that writes into a volume on the disk, and waits. */
function writing(name: string, sizeLimit: string): object {
  const text = 'x'.repeat(5000);
  const script = `echo ${text} > /data/file; trap "exit 0" TERM; sleep 1000000 & wait`;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, uid: `${name}-uid`, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      nodeName: 'n1',
      serviceAccountName: 'default',
      terminationGracePeriodSeconds: 5,
      containers: [
        {
          name: 'main',
          image: 'busybox:1',
          command: ['sh', '-c', script],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'data', emptyDir: { sizeLimit } }],
    },
    status: { phase: 'Pending' },
  };
}

test('what is above its limit is evicted, and says so', async () => {
  lab = new AgentLab();
  const at = lab;
  await at.up();
  at.put('pods', writing('large', '1Ki') as never);
  at.put('pods', writing('small', '1Mi') as never);
  at.begin();
  const status = (name: string) =>
    (at.pod(name)?.['status'] ?? {}) as { readonly phase?: string; readonly reason?: string };
  await at.pass('large is evicted', () => status('large').phase === 'Failed', 120);
  expect(status('large')).toMatchObject({
    reason: 'Evicted',
    message: 'Usage of EmptyDir volume "data" exceeds the limit "1Ki". ',
  });
  expect(at.isReady('small')).toBe(true);
  expect(at.starts).toEqual({ large: 1, 'large/main': 1, small: 1, 'small/main': 1 });
});
