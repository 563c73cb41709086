// A pod that names a signal is stopped by it where the runtime does that, and else waits: never is it stopped by another.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PodStatus } from '../../../src/kubelet/pod/pod-status.ts';
import { AgentLab } from './support/agent-lab.ts';

let lab: AgentLab;
const script = 'trap "exit 7" INT; trap "exit 8" TERM; sleep 1000000 & wait';

beforeEach(async () => {
  lab = new AgentLab();
  await lab.up();
  lab.manifest('static', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'static' },
    spec: {
      os: { name: 'linux' },
      containers: [
        {
          name: 'main',
          image: 'busybox:1',
          command: ['sh', '-c', script],
          lifecycle: { stopSignal: 'SIGINT' },
        },
      ],
    },
  });
});

afterEach(async () => {
  await lab.close();
});

function status(): PodStatus['containerStatuses'] {
  const { containerStatuses } = (lab.pod('static-n1')?.['status'] ?? {}) as PodStatus;
  return containerStatuses;
}

test('a runtime that takes it stops the container by it', async () => {
  lab.fake.hasStopSignals = true;
  lab.begin();
  await lab.pass('it is ready', () => lab.isReady('static-n1'));
  expect(status()).toMatchObject([{ stopSignal: 'SIGINT' }]);
  const container = lab.fake.container('static-n1', 'main');
  lab.manifest('static', undefined);
  await lab.pass('it has ended', () => container?.running === false);
  expect(container?.exitCode).toBe(7);
});

test('a runtime that would drop it runs nothing, and the pod says why', async () => {
  lab.begin();
  await lab.pass('it waits', () => status()?.[0]?.state.waiting?.reason === 'UnsupportedField');
  expect(status()?.[0]?.state.waiting?.message).toContain(
    'spec.containers[0].lifecycle.stopSignal: this container runtime does not take the signal',
  );
  expect(lab.starts).toEqual({});
});
