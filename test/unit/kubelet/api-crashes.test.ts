import { afterEach, describe, expect, test } from 'vitest';

import { AgentLab, callText } from './support/agent-lab.ts';

/** The agent dies at each call to the API server in the life of a pod and of a static pod; the next one brings both to their ends. */

let lab: AgentLab | undefined;

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

const forever = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'];
const image = 'busybox:1';

const web = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', uid: 'web-uid', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: {
    nodeName: 'n1',
    serviceAccountName: 'default',
    terminationGracePeriodSeconds: 5,
    initContainers: [{ name: 'init', image, command: ['sh', '-c', 'exit 0'] }],
    containers: [
      {
        name: 'main',
        image,
        command: forever,
        volumeMounts: [{ name: 'access', mountPath: '/access' }],
      },
    ],
    volumes: [
      {
        name: 'access',
        projected: {
          sources: [
            { serviceAccountToken: { path: 'token', expirationSeconds: 3607 } },
            { configMap: { name: 'kube-root-ca.crt' } },
          ],
        },
      },
    ],
  },
  status: { phase: 'Pending' },
};

const fixed = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'static' },
  spec: {
    terminationGracePeriodSeconds: 5,
    containers: [{ name: 'main', image, command: forever }],
  },
};

const once = { web: 1, 'web/init': 1, 'web/main': 1, 'static-n1': 1, 'static-n1/main': 1 };

/** From nothing to nothing; where the agent has died another one goes on. */
async function live(at: AgentLab, hasDied: () => boolean): Promise<void> {
  let isOver = false;
  const reach = async (what: string, is: () => boolean): Promise<void> => {
    await at.pass(what, () => is() || (hasDied() && !isOver));
    if (!hasDied() || isOver) return;
    isOver = true;
    await at.takeOver();
    await at.pass(`${what}, after it died`, is);
  };
  at.put('pods', web);
  at.manifest('static', fixed);
  at.begin();
  await reach('both are ready', () => at.isReady('web') && at.isReady('static-n1'));
  expect(at.starts).toEqual(once);
  at.delete('web');
  at.manifest('static', undefined);
  await reach('both are gone', () => !at.pod('web') && !at.pod('static-n1'));
  const running = (): boolean => [...at.fake.containers.values()].some((one) => one.running);
  await reach('nothing runs', () => !running());
  expect(at.starts).toEqual(once);
}

test('a life has calls of all kinds', async () => {
  lab = new AgentLab();
  await lab.up();
  await live(lab, () => false);
  const calls = new Set(lab.api.requests.map(callText).map((text) => text.replace(/\.\w+$/, '')));
  expect([...calls]).toEqual(
    expect.arrayContaining([
      'POST /api/v1/nodes',
      'PATCH /api/v1/nodes/n1/status',
      'POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases',
      'POST /api/v1/namespaces/default/events',
      'POST /api/v1/namespaces/default/serviceaccounts/default/token',
      'PATCH /api/v1/namespaces/default/pods/web/status',
      'DELETE /api/v1/namespaces/default/pods/web',
      'POST /api/v1/namespaces/default/pods',
      'PATCH /api/v1/namespaces/default/pods/static-n1/status',
      'DELETE /api/v1/namespaces/default/pods/static-n1',
      'watch /api/v1/pods',
    ]),
  );
});

describe.each(['before', 'after'] as const)('dies %s a call was done', (phase) => {
  test('and the next agent brings all to its end, and nothing ran twice', async () => {
    for (let index = 0; ; index += 1) {
      const at = new AgentLab();
      lab = at;
      await at.up();
      const death = at.dieAt(index, phase);
      try {
        await live(at, () => death() !== undefined);
      } catch (error) {
        throw new Error(`died at call ${index}, ${death()?.call}`, { cause: error });
      }
      await at.close();
      lab = undefined;
      if (death() === undefined) return;
      expect(index).toBeLessThan(200);
    }
  }, 600_000);
});
