/** What probes make of containers, what these leave for their last words, and how many records of them are kept. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { expect } from 'vitest';
import { fabricAddress } from '../node-machine.ts';
import type { Scenario } from './scenario.ts';
import { isReady, statusOf } from './test-pod.ts';
import type { TestPod } from './test-pod.ts';
import { forever, one } from './trial.ts';

const file = '/tmp/good';
/** A probe that is patient with a machine that has much to do. */
const eachSecond = { periodSeconds: 1, timeoutSeconds: 10 };
const asLongAsThere = { exec: { command: ['cat', file] }, ...eachSecond };
/** Makes the file, and waits. */
const good = `touch ${file}; ${forever}`;
/** Serves one page, and everything else is a 404. */
const web = 'mkdir -p /www; echo hello > /www/index.html; httpd -f -p 8080 -h /www';

function ask(path: string): object {
  return { httpGet: { path, port: 'web' }, ...eachSecond };
}

export const probing: readonly Scenario[] = [
  {
    number: 69,
    title: 'without a probe: ready as soon as it runs',
    async run(trial) {
      const pod = await trial.pod(one(forever));
      const status = await pod.running();
      expect(statusOf(status, 'main')).toMatchObject({ ready: true, started: true });
    },
  },
  {
    number: 70,
    title: 'readiness comes after its delay, and goes without a restart',
    async run(trial) {
      const readinessProbe = { ...asLongAsThere, initialDelaySeconds: 3, failureThreshold: 2 };
      const pod = await trial.pod(one(good, { readinessProbe }));
      const { containerStatuses, conditions } = await pod.running();
      const startedAt = Date.parse(containerStatuses?.[0]?.state.running?.startedAt ?? '');
      const readyAt = conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '';
      expect(Date.parse(readyAt) - startedAt).toBeGreaterThanOrEqual(3_000);
      await pod.exec('main', 'rm', file);
      await pod.event('Unhealthy', /^Readiness probe failed: .*No such file/);
      const unready = await pod.waitFor('not ready', (status) => !isReady(status));
      expect(statusOf(unready, 'main')).toMatchObject({ restartCount: 0, ready: false });
      await pod.exec('main', 'touch', file);
      await pod.running();
    },
  },
  {
    number: 71,
    title: 'a liveness probe that fails has the container killed and restarted',
    async run(trial) {
      const livenessProbe = { ...asLongAsThere, failureThreshold: 2 };
      const pod = await trial.pod(one(good, { livenessProbe, readinessProbe: asLongAsThere }));
      await pod.running();
      await pod.exec('main', 'rm', file);
      await pod.event('Unhealthy', 'Liveness probe failed: ');
      await pod.event('Killing', 'failed liveness probe');
      await pod.restarted(1);
      const status = await pod.running();
      expect(statusOf(status, 'main')?.lastState.terminated).toBeDefined();
    },
  },
  {
    number: 72,
    title: 'a redirect to another host is not followed, and is a warning',
    async run(trial) {
      const asked: string[] = [];
      const port = await trial.server(({ url = '' }, response) => {
        asked.push(url);
        response.writeHead(302, { location: 'http://elsewhere.test/' }).end();
      });
      const httpGet = { host: fabricAddress, port, path: '/alive' };
      const livenessProbe = { httpGet, ...eachSecond, failureThreshold: 1 };
      const pod = await trial.pod(one(forever, { livenessProbe }));
      await pod.event('ProbeWarning', 'Liveness probe warning: Probe terminated redirects');
      await pod.until('it was asked three times', async () => asked.length >= 3);
      expect(new Set(asked)).toEqual(new Set(['/alive']));
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 73,
    title: 'a web server that answers with 404 is not alive',
    async run(trial) {
      const pod = await trial.pod(
        one(web, {
          ports: [{ name: 'web', containerPort: 8080 }],
          readinessProbe: ask('/index.html'),
          livenessProbe: { ...ask('/none'), failureThreshold: 1, initialDelaySeconds: 3 },
        }),
      );
      await pod.running();
      const words = 'Liveness probe failed: HTTP probe failed with statuscode: 404';
      await pod.event('Unhealthy', words);
      await pod.restarted(1);
    },
  },
  {
    number: 74,
    title: 'a startup probe that fails to its threshold kills, and no liveness probe ran before',
    async run(trial) {
      const never = { exec: { command: ['false'] }, ...eachSecond, failureThreshold: 3 };
      const more = { startupProbe: never, livenessProbe: { ...never, failureThreshold: 1 } };
      const pod = await trial.pod(one(forever, more));
      await pod.event('Killing', 'failed startup probe');
      const unhealthy = (await pod.events()).filter(({ reason }) => reason === 'Unhealthy');
      expect(unhealthy.map(({ message }) => message.split(' ', 1)[0])).toEqual(['Startup']);
      await pod.restarted(1);
    },
  },
  {
    number: 75,
    title: 'gRPC: a service that is said not to serve has its container restarted',
    async run(trial) {
      const { node } = trial.world.runtime;
      const folder = trial.folder();
      const program = join(import.meta.dirname, 'grpc-health.ts');
      node.spawn('health.log', process.execPath, program, node.address, folder.path);
      await trial.world.until('it listens', () => existsSync(join(folder.path, 'port')));
      const port = Number(folder.read('port'));
      const pod = async (service: string): Promise<TestPod> => {
        const livenessProbe = { grpc: { port, service }, ...eachSecond, failureThreshold: 1 };
        return trial.pod({ hostNetwork: true, ...one(forever, { livenessProbe }) });
      };
      const [serves, fails] = await Promise.all([pod('good'), pod('bad')]);
      await fails.event('Unhealthy', 'service unhealthy (responded with "NOT_SERVING")');
      await fails.restarted(1);
      await serves.running();
      expect(await serves.starts('main')).toEqual([1]);
      expect(await serves.told('Unhealthy')).toBe(0);
    },
  },
  {
    number: 76,
    title: 'a probe that takes too long has failed, and its process is killed',
    async run(trial) {
      const command = ['sh', '-c', 'echo begun >> /tmp/told; sleep 3; echo survived >> /tmp/told'];
      const readinessProbe = { exec: { command }, periodSeconds: 1, timeoutSeconds: 1 };
      const pod = await trial.pod(one(forever, { readinessProbe }));
      await pod.event('Unhealthy', 'Readiness probe failed: command timed out');
      let told: readonly string[] = [];
      // One begins when the one before has had its second: the first would have spoken by then.
      await pod.until('six were tried', async () => {
        told = (await pod.exec('main', 'cat', '/tmp/told')).trim().split('\n');
        return told.length >= 6;
      });
      expect(told).not.toContain('survived');
    },
  },
  {
    number: 77,
    title: 'a kubelet that comes back leaves a ready pod ready',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const probes = { readinessProbe: asLongAsThere, livenessProbe: asLongAsThere };
      const pod = await trial.pod(one(good, { ...probes, startupProbe: asLongAsThere }));
      const { containerStatuses } = await pod.running();
      // What has run for less than ten seconds is probed anew.
      const started = Date.parse(containerStatuses?.[0]?.state.running?.startedAt ?? '');
      await world.until('it has run for a while', () => Date.now() > started + 12_000);
      const before = await pod.status();
      await world.replaceKubelet('kill');
      await trial.kubeletWorks();
      const ready = before.conditions?.find(({ type }) => type === 'Ready');
      expect(ready?.status).toBe('True');
      const after = await pod.status();
      // Ready since then, and taken up no second time.
      expect(after.conditions).toContainEqual(ready);
      expect(after.startTime).toBe(before.startTime);
      await pod.exec('main', 'rm', file);
      await pod.restarted(1);
    },
  },
  {
    number: 86,
    title: 'the last words of a container: its file, or the end of its log where that is asked for',
    async run(trial) {
      const once = { restartPolicy: 'Never' };
      const spoken = 'echo no words of mine; printf DONE > /dev/termination-log';
      const fallback = { terminationMessagePolicy: 'FallbackToLogsOnError' };
      const own = await trial.pod({ ...once, ...one(`${spoken}; exit 1`) });
      const log = await trial.pod({ ...once, ...one('echo the end; exit 1', fallback) });
      const quiet = await trial.pod({ ...once, ...one('echo the end; exit 0', fallback) });
      const said = (status: Awaited<ReturnType<typeof own.status>>): string | undefined =>
        statusOf(status, 'main')?.state.terminated?.message;
      expect(said(await own.phase('Failed'))).toBe('DONE');
      expect(said(await log.phase('Failed'))).toBe('the end');
      expect(said(await quiet.phase('Succeeded'))).toBeUndefined();
    },
  },
  {
    number: 101,
    title: 'of many ends of a container one record is kept beside the one that runs',
    async run(trial) {
      const third = `if test -e /kept/second; then ${forever}; fi`;
      const second = 'if test -e /kept/first; then touch /kept/second; exit 1; fi';
      const script = `${third}; ${second}; touch /kept/first; exit 1`;
      const pod = await trial.pod({
        volumes: [{ name: 'kept', emptyDir: {} }],
        ...one(script, { volumeMounts: [{ name: 'kept', mountPath: '/kept' }] }),
      });
      await pod.restarted(2);
      await pod.running();
      await pod.until('two records are left', async () => (await pod.containers()).length === 2);
      const states = (await pod.containers()).map(({ state }) => state);
      expect(states.toSorted((a, b) => a - b)).toEqual([1, 2]);
    },
  },
];
