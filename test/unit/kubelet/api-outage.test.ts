import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';

import type { PodStatus } from '../../../src/kubelet/pod/pod-status.ts';
import { AgentLab } from './support/agent-lab.ts';

/**
 * The API server is away for twelve minutes, longer than a token is good: pods restart, probes go on, a static pod begins; and when it is
 * back statuses are true and tokens are others.
 */

let lab: AgentLab | undefined;

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

const image = 'busybox:1';
const outageSeconds = 720;

function pod(name: string, container: object, volumes: readonly object[] = []) {
  return {
    metadata: { name, uid: `${name}-uid`, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      nodeName: 'n1',
      serviceAccountName: 'default',
      containers: [{ name: 'main', image, ...container }],
      volumes,
    },
    status: { phase: 'Pending' },
  };
}

/** Both probes ask whether a file of its volume is there. */
function tended(folder: string) {
  const exec = { command: ['test', '-e', '/health/alive'] };
  const source = { serviceAccountToken: { path: 'token', expirationSeconds: 600 } };
  const container = {
    command: ['sleep', '1000000'],
    livenessProbe: { exec, periodSeconds: 5, failureThreshold: 3 },
    readinessProbe: { exec, periodSeconds: 2, failureThreshold: 1 },
    volumeMounts: [
      { name: 'health', mountPath: '/health' },
      { name: 'access', mountPath: '/access' },
    ],
  };
  return pod('tended', container, [
    { name: 'health', hostPath: { path: folder } },
    { name: 'access', projected: { sources: [source] } },
  ]);
}

const loops = pod('loops', { command: ['sh', '-c', 'sleep 1; exit 3'] });

const fixed = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'static' },
  spec: { containers: [{ name: 'main', image, command: ['sleep', '1000000'] }] },
};

function statusOf(at: AgentLab, name: string): PodStatus {
  return at.pod(name)?.['status'] ?? {};
}

function restarts(at: AgentLab, name: string): number | undefined {
  return statusOf(at, name).containerStatuses?.[0]?.restartCount;
}

test('an API server that is away for minutes', async () => {
  const at = new AgentLab();
  lab = at;
  await at.up();
  const alive = join(at.folder, 'alive');
  writeFileSync(alive, '');
  at.put('pods', tended(at.folder));
  at.put('pods', loops);
  at.begin();
  await at.pass('it is ready', () => at.isReady('tended'));
  const access = join(at.folder, 'kubelet/pods/tended-uid/volumes/kubernetes.io~projected/access');
  const token = (): string => readFileSync(join(access, 'token'), 'utf8');
  const first = token();
  const restartsBefore = restarts(at, 'loops') ?? 0;

  await at.api.down();
  at.manifest('static', fixed);
  rmSync(alive);
  await at.pass('it is killed', () => at.starts['tended/main'] === 2);
  writeFileSync(alive, '');
  await at.pass('the static pod runs', () => at.starts['static-n1/main'] === 1);
  await at.letGoBy(outageSeconds);
  // one that is no longer good is better than none
  expect(token()).toBe(first);
  expect(at.starts).toMatchObject({ 'tended/main': 2, 'static-n1/main': 1 });
  expect(at.starts['loops/main']).toBeGreaterThan(restartsBefore + 3);

  await at.api.up();
  await at.pass('the static pod is ready', () => at.isReady('static-n1'));
  await at.pass('its restart is told', () => at.isReady('tended') && restarts(at, 'tended') === 1);
  const loopsAreTrue = (): boolean => restarts(at, 'loops') === (at.starts['loops/main'] ?? 0) - 1;
  await at.pass('what restarts again and again is told', loopsAreTrue);
  await at.pass('there is another token', () => token() !== first, 120);
  expect(existsSync(join(access, 'token'))).toBe(true);
  expect(at.starts).toMatchObject({ 'tended/main': 2, 'static-n1/main': 1 });
}, 300_000);
