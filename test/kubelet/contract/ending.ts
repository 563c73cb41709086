/** How pods end that are deleted or have had their time: order, grace and hooks. */
import { expect } from 'vitest';
import { fabricAddress } from '../node-machine.ts';
import type { Scenario } from './scenario.ts';
import { isReady, statusOf } from './test-pod.ts';
import type { TestPod } from './test-pod.ts';
import { box, forever, one } from './trial.ts';
import type { World } from './world.ts';

/** Ends a second after the signal. */
const slow = 'trap "sleep 1; exit 0" TERM; while true; do sleep 0.1; done';
/** Heeds no signal. */
const deaf = 'trap "" TERM; while true; do sleep 0.1; done';
const always = { restartPolicy: 'Always' };

function out(path: string): object {
  return { volumes: [{ name: 'out', hostPath: { path } }] };
}
/** Notes by which signal it ends. */
function notes(signal: string): string {
  return `trap "echo ${signal} >> /out/signal; exit 0" ${signal}`;
}
const mounted = { volumeMounts: [{ name: 'out', mountPath: '/out' }] };

/** By name of container, its id. */
async function ids(pod: TestPod, ...names: readonly string[]): Promise<readonly string[]> {
  const found = await pod.containers();
  return names.map((name) => found.find((each) => each.name === name)?.id ?? name);
}

export const ending: readonly Scenario[] = [
  {
    number: 28,
    title: 'sidecars end after the rest, the last one first',
    async run(trial) {
      const pod = await trial.pod({
        terminationGracePeriodSeconds: 20,
        initContainers: [box('s1', slow, always), box('s2', slow, always)],
        ...one(slow),
      });
      await pod.running();
      const order = await ids(pod, 'main', 's2', 's1');
      await pod.remove();
      expect(trial.world.tasks.ended(order)).toEqual(order);
    },
  },
  {
    number: 29,
    title: 'the signal comes after preStop',
    async run(trial) {
      const folder = trial.folder();
      const preStop = { exec: { command: ['sh', '-c', 'sleep 1; echo hook >> /out/order'] } };
      const script =
        'trap "echo signal >> /out/order; exit 0" TERM; while true; do sleep 0.1; done';
      const pod = await trial.pod({
        terminationGracePeriodSeconds: 30,
        ...out(folder.path),
        ...one(script, { ...mounted, lifecycle: { preStop } }),
      });
      await pod.running();
      await pod.remove();
      expect(folder.read('order')).toBe('hook\nsignal\n');
    },
  },
  {
    number: 30,
    title: 'a preStop that takes longer than there is time is cut, and told of',
    async run(trial) {
      const lifecycle = { preStop: { exec: { command: ['sleep', '1000'] } } };
      const pod = await trial.pod({
        terminationGracePeriodSeconds: 1,
        ...one(forever, { lifecycle }),
      });
      await pod.running();
      await pod.remove();
      await pod.event('FailedPreStopHook');
      expect(await pod.isRunning()).toBe(false);
    },
  },
  {
    number: 31,
    title: 'deleted by force: gone at once, and its containers stop',
    async run(trial) {
      const pod = await trial.pod({ terminationGracePeriodSeconds: 1000, ...one(deaf) });
      await pod.running();
      await pod.delete(0);
      expect(await pod.read()).toBeUndefined();
      await pod.until('nothing of it runs', async () => !(await pod.isRunning()));
    },
  },
  {
    number: 32,
    title: 'postStart fails: the container is killed, and waits',
    async run(trial) {
      const lifecycle = { postStart: { exec: { command: ['sh', '-c', 'exit 1'] } } };
      const pod = await trial.pod(one(forever, { lifecycle }));
      await pod.event('FailedPostStartHook');
      await pod.event('Killing', 'FailedPostStartHook');
      const status = await pod.restarted(1);
      expect(isReady(status)).toBe(false);
    },
  },
  {
    number: 33,
    title: 'a preStop that is answered with an error holds nothing up',
    async run(trial) {
      const asked: string[] = [];
      const port = await trial.server(({ method, url }, response) => {
        asked.push(`${method} ${url}`);
        response.writeHead(500).end('not now');
      });
      const preStop = { httpGet: { host: fabricAddress, port, path: '/stop' } };
      const pod = await trial.pod(one(deaf, { lifecycle: { preStop } }));
      await pod.running();
      const main = await ids(pod, 'main');
      expect(asked).toEqual([]);
      await pod.remove();
      expect(asked).toEqual(['GET /stop']);
      // It heeds no signal: it was killed when the rest of its grace was over.
      await pod.until('its end is told', async () => trial.world.tasks.ended(main).length > 0);
      const reasons = (await pod.events()).map(({ reason }) => reason);
      expect(reasons).toContain('Killing');
      expect(reasons).not.toContain('FailedPreStopHook');
    },
  },
  {
    number: 34,
    title: 'a pod whose time is over fails, whatever its policy',
    async run(trial) {
      const pod = await trial.pod({ activeDeadlineSeconds: 3, ...one(forever) });
      const status = await pod.phase('Failed');
      expect(status.reason).toBe('DeadlineExceeded');
      expect(await pod.starts('main')).toEqual([1]);
      await pod.until('nothing of it runs', async () => !(await pod.isRunning()));
    },
  },
  {
    number: 35,
    title: 'a pod that is deleted while its image is pulled goes, and nothing of it was started',
    async run(trial) {
      const asked = Promise.withResolvers<void>();
      const over = Promise.withResolvers<void>();
      const gate = async (): Promise<void> => {
        asked.resolve();
        await over.promise;
      };
      const image = trial.offer('slow:1', { gate });
      try {
        const pod = await trial.pod(one(forever, { image }));
        await asked.promise;
        await pod.delete();
        over.resolve();
        await pod.gone();
        expect(await pod.containers()).toEqual([]);
        await pod.until('its sandbox is stopped', async () =>
          (await pod.sandboxes()).every(({ ready }) => !ready),
        );
      } finally {
        over.resolve();
      }
    },
  },
  {
    number: 36,
    title: 'a probe with a grace of its own kills by that, not by the pod’s',
    async run(trial) {
      const livenessProbe = {
        exec: { command: ['test', '!', '-e', '/tmp/ill'] },
        periodSeconds: 1,
        failureThreshold: 1,
        timeoutSeconds: 10,
        terminationGracePeriodSeconds: 2,
      };
      const pod = await trial.pod({
        terminationGracePeriodSeconds: 1000,
        ...one(`touch /tmp/ill; ${deaf}`, { livenessProbe }),
      });
      const status = await pod.restarted(1);
      expect(statusOf(status, 'main')?.lastState.terminated).toMatchObject({ exitCode: 137 });
      await pod.delete(1);
    },
  },
  {
    number: 91,
    title: 'a deleted pod is gone from the API once its containers have ended',
    long: true,
    async run(trial) {
      const pod = await trial.pod({ terminationGracePeriodSeconds: 20, ...one(slow) });
      await pod.running();
      await pod.delete();
      expect((await pod.read())?.metadata.deletionTimestamp).toBeDefined();
      await pod.gone();
      expect(await pod.isRunning()).toBe(false);
      await pod.until(
        'nothing of it is left',
        async () => (await pod.containers()).length + (await pod.sandboxes()).length === 0,
        120,
      );
    },
  },
  {
    number: 126,
    title:
      'a signal that a pod is to be stopped by: it is, or where the runtime would drop it the pod waits',
    async run(trial) {
      const folder = trial.folder();
      const script = `${notes('INT')}; ${notes('TERM')}; while true; do sleep 0.1; done`;
      const lifecycle = { stopSignal: 'SIGINT' };
      // Of a file: API servers drop the field by default.
      const file = await trial.staticPod({
        os: { name: 'linux' },
        ...out(folder.path),
        ...one(script, { ...mounted, lifecycle }),
      });
      const pod = await file.mirrored();
      if (!(await takesSignals(trial.world))) {
        const at = 'spec.containers[0].lifecycle.stopSignal';
        await pod.event('UnsupportedField', at);
        expect(await pod.containers()).toEqual([]);
        return;
      }
      await pod.running();
      await file.remove();
      expect(folder.read('signal')).toBe('INT\n');
    },
  },
];

/** containerd does from 2.3 on. */
async function takesSignals({ cri }: World): Promise<boolean> {
  const { runtimeVersion } = await cri.runtime.version({ version: 'v1' });
  const [major = 0, minor = 0] = runtimeVersion.replace(/^v/, '').split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 3);
}
