// A static pod that a shutdown of the machine has ended runs again. The last phase of an object stays: another mirror tells of it.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PodStatus } from '../../../src/kubelet/pod/pod-status.ts';
import type { RawObject } from '../../support/fake-api-server.ts';
import { AgentLab } from './support/agent-lab.ts';

let lab: AgentLab;
const forever = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'];
const name = 'static-n1';

beforeEach(async () => {
  lab = new AgentLab();
  await lab.up();
  lab.manifest('static', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'static' },
    spec: { containers: [{ name: 'main', image: 'busybox:1', command: forever }] },
  });
  lab.begin();
  await lab.pass('it is ready', () => lab.isReady(name));
  await lab.goAway();
});

afterEach(async () => {
  await lab.close();
});

function mirror(): RawObject & { readonly status: PodStatus } {
  const found = lab.pod(name);
  if (found === undefined) throw new Error(`there is no pod ${name}`);
  return { ...found, status: found['status'] ?? {} };
}

function mirrorUid(): unknown {
  return mirror().metadata['uid'];
}

/** What a shutdown, or another end, leaves behind. */
function ended(reason: string): unknown {
  lab.fake.reboot();
  const { status, ...rest } = mirror();
  const { containerStatuses = [], conditions = [] } = status;
  const isNot = conditions.map((each) => ({ ...each, status: 'False' }));
  const terminated = containerStatuses.map((each) => ({
    ...each,
    ready: false,
    state: { terminated: { exitCode: 0, reason: 'Completed' } },
  }));
  const end = { phase: 'Failed', reason, message: 'so' };
  const told = { ...status, ...end, conditions: isNot, containerStatuses: terminated };
  lab.put('pods', { ...rest, status: told });
  return mirrorUid();
}

test('after a shutdown there is another mirror, which tells of what runs now', async () => {
  const before = ended('Terminated');
  lab.begin();
  await lab.pass('the mirror is ready', () => lab.isReady(name));
  const { status } = mirror();
  const uid = mirrorUid();
  expect(uid).not.toBe(before);
  expect(status.phase).toBe('Running');
  expect(status.reason).toBeUndefined();
  expect(lab.starts).toMatchObject({ 'static-n1/main': 2 });
  await lab.letGoBy(30);
  expect(mirrorUid()).toBe(uid);
});

test('a mirror that tells of another end stays', async () => {
  const before = ended('DeadlineExceeded');
  lab.begin();
  await lab.letGoBy(30);
  expect(mirrorUid()).toBe(before);
  expect(mirror().status).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
});
