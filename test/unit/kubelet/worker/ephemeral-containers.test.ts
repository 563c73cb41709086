import { afterEach, beforeEach, expect, test } from 'vitest';

import type { Container } from '../../../../src/kubelet/pod/container.ts';
import { NamespaceMode } from '../../../../src/kubelet/cri/gen/api_pb.ts';
import { container, pod } from '../runtime/made-pods.ts';
import { WorkerLab } from './worker-lab.ts';

/** Containers that are put into a pod that runs, on a runtime in memory, with a driven clock. */

let lab: WorkerLab;

beforeEach(() => {
  lab = new WorkerLab();
});

afterEach(async () => {
  await lab.end();
});

const forever = 'trap "exit 0" TERM; sleep 1000000 & wait';

function script(name: string, text: string, more: Partial<Container> = {}): Container {
  return container(name, { command: ['sh', '-c', text], terminationMessagePath: '', ...more });
}

const spec = { containers: [script('app', forever)] };

function debugged(...ephemeralContainers: readonly Container[]) {
  return pod({ ...spec, ephemeralContainers });
}

/** Of the runtime's container with this name. */
function configOf(name: string) {
  const found = [...lab.fake.containers.values()].find(
    ({ config }) => config.metadata?.name === name,
  );
  if (found === undefined) throw new Error(`no container ${name}`);
  return found.config;
}

test('each is started once, and its end is told and never followed by another start', async () => {
  lab.put(pod(spec));
  await lab.untilState('running 0');
  lab.put(debugged(script('debug-1', 'exit 3')));
  await lab.untilState('Error 3', 'debug-1');
  await lab.clock.advance(200_000);
  expect(lab.fake.log.count('CreateContainer')).toBe(2);
  expect(lab.state('debug-1')).toBe('Error 3');
  expect(lab.metered).toContain('starts ephemeral_container');
  lab.put(debugged(script('debug-1', 'exit 3'), script('debug-2', forever)));
  await lab.untilState('running 0', 'debug-2');
  expect(lab.status().ephemeralContainerStatuses?.map(({ name }) => name)).toEqual([
    'debug-1',
    'debug-2',
  ]);
});

test('one that the runtime has forgotten is not started again', async () => {
  lab.put(pod(spec));
  await lab.untilState('running 0');
  const debug = debugged(script('debug', 'exit 0'));
  lab.put(debug);
  await lab.untilState('Completed 0', 'debug');
  const { status } = { status: lab.status() };
  for (const [id, { config }] of lab.fake.containers)
    if (config.metadata?.name === 'debug') lab.fake.containers.delete(id);
  lab.put({ ...debug, status });
  await lab.clock.advance(200_000);
  expect(lab.fake.log.count('CreateContainer')).toBe(2);
  expect(lab.state('debug')).toBe('Completed 0');
});

test('it counts neither for the phase nor for readiness, and ends with its pod', async () => {
  const restartPolicy = 'Never';
  const once = { restartPolicy, containers: [script('app', 'sleep 5')] } as const;
  lab.put(pod({ ...once, ephemeralContainers: [script('debug', forever)] }));
  await lab.untilState('running 0', 'debug');
  expect(lab.status().conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
  await lab.pass('ended', () => lab.workers.state('u1')?.kind === 'finished');
  expect(lab.status().phase).toBe('Succeeded');
  expect(lab.state('debug')).toBe('Completed 0');
});

test('it starts while the pod is initialised still', async () => {
  const init = { ...spec, initContainers: [script('i', forever)] };
  lab.put(pod(init));
  await lab.untilState('running 0', 'i');
  lab.put(pod({ ...init, ephemeralContainers: [script('debug', forever)] }));
  await lab.untilState('running 0', 'debug');
  expect(lab.state()).toBe('waiting PodInitializing');
});

test('with a target it sees the processes of that one; while that does not run it waits', async () => {
  const target = { targetContainerName: 'app' };
  lab.put(pod(spec));
  await lab.untilState('running 0');
  const debug = debugged(script('debug', forever, target));
  lab.put(debug);
  await lab.untilState('running 0', 'debug');
  const [id] =
    [...lab.fake.containers].find(([, one]) => one.config.metadata?.name === 'app') ?? [];
  expect(configOf('debug').linux?.securityContext?.namespaceOptions).toMatchObject({
    pid: NamespaceMode.TARGET,
    targetId: id,
  });
  const lost = script('lost', forever, { targetContainerName: 'nobody' });
  lab.put(debugged(script('debug', forever, target), lost));
  await lab.untilState('waiting CreateContainerConfigError', 'lost');
  expect(lab.events).toContain(
    'Warning Failed: Error: unable to find target container "nobody": there is none',
  );
  expect(lab.state()).toBe('running 0');
});

test('one that cannot be honoured waits, with an Event, and the pod runs on', async () => {
  lab.put(pod(spec));
  await lab.untilState('running 0');
  lab.events.length = 0;
  const volumeDevices = [{ name: 'x', devicePath: '/x' }];
  const bad = { ...script('debug', forever), volumeDevices } as Container;
  lab.put(debugged(bad));
  await lab.untilState('waiting UnsupportedField', 'debug');
  await lab.clock.advance(200_000);
  expect(lab.events).toEqual([
    'Warning UnsupportedField: spec.ephemeralContainers[0].volumeDevices: block devices are not supported',
  ]);
  expect(lab.state()).toBe('running 0');
});
