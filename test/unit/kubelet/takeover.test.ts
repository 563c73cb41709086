import { afterEach, expect, test } from 'vitest';

import { labels } from '../../../src/kubelet/runtime/labels.ts';
import type { RawObject } from '../../support/fake-api-server.ts';
import { AgentLab } from './support/agent-lab.ts';

/** What an upstream kubelet runs under a pod's UID is let in as it is, though the node has no room for it; what comes anew is judged. */

let lab: AgentLab | undefined;

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

/** More than any machine has. */
const greedy = { requests: { cpu: '100000' } };

function pod(name: string, resources: object): RawObject {
  const container = { name: 'main', image: 'busybox:1', command: ['sleep', '1000000'] };
  return {
    metadata: { name, uid: `${name}-uid`, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { nodeName: 'n1', containers: [{ ...container, resources }] },
    status: { phase: 'Pending' },
  };
}

interface Status {
  readonly phase?: string;
  readonly reason?: string;
}

function status(at: AgentLab, name: string): Status {
  return at.pod(name)?.['status'] ?? {};
}

test('a pod that runs already is taken over, and one that comes is not let in', async () => {
  const at = new AgentLab();
  lab = at;
  await at.up();
  at.put('pods', pod('old', {}));
  at.begin();
  await at.pass('it is ready', () => at.isReady('old'));
  await at.goAway();
  // as if another kubelet had made it
  for (const { config } of [...at.fake.sandboxes.values(), ...at.fake.containers.values()]) {
    delete config.labels[labels.managedBy];
  }
  at.put('pods', { ...pod('old', greedy), status: status(at, 'old') });
  at.put('pods', pod('new', greedy));
  const { starts } = at;
  at.begin();
  await at.pass('the other is judged', () => status(at, 'new').phase === 'Failed');
  expect(status(at, 'new')).toMatchObject({ reason: 'OutOfcpu' });
  await at.clock.advance(5_000);
  expect(at.isReady('old')).toBe(true);
  expect(at.starts).toEqual(starts);
});
