// A kubelet that is killed at any call to the runtime that changes something, before it or after it, in a pod's whole life: the next one
// brings the pod to its end, and nothing ran twice by what the runtime itself told of its processes.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryRuntime } from './contract/runtimes.ts';
import { Trial, box, forever } from './contract/trial.ts';
import { World } from './contract/world.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { NodeMachine } from './node-machine.ts';
import type { Phase, RuntimeCall } from '../support/fake-cri/call-log.ts';

const cluster = new KubeletCluster([]);
let runtime: MemoryRuntime;
let world: World;

beforeAll(async () => {
  await cluster.start([]);
  runtime = new MemoryRuntime(new NodeMachine('memory', 0));
  await runtime.start();
  world = new World(runtime, cluster);
  await world.start();
});

afterAll(async () => {
  await world.stop();
  await cluster.stop();
});

/** Starts a pod, waits until it is ready, deletes it, and waits until it is gone. */
async function live(name: string): Promise<void> {
  const spec = { initContainers: [box('init', 'exit 0')], containers: [box('main', forever)] };
  const pod = await new Trial(world, 0).pod(spec, { name });
  await pod.running();
  await pod.remove();
}

/** What changes something in a pod's life; what is removed after it, minutes later, is not of it. */
const lifeCalls = new Set(['RunPodSandbox', 'CreateContainer', 'StartContainer'])
  .add('StopContainer')
  .add('StopPodSandbox');

/** The name of the pod that a call is about. */
function podOf({ request }: RuntimeCall): string | undefined {
  const asked = request as {
    readonly config?: { readonly metadata?: { readonly name?: string } };
    readonly podSandboxId?: string;
    readonly containerId?: string;
  };
  const { sandboxes, containers } = runtime.fake;
  const container = containers.get(asked.containerId ?? '');
  const sandbox = sandboxes.get(asked.podSandboxId ?? container?.place.sandboxId ?? '');
  return sandbox?.config.metadata?.name ?? asked.config?.metadata?.name;
}

/** Kills the kubelet at the call of this number; the call itself is never answered. */
function killAt(
  pod: string,
  wanted: number,
  wantedPhase: Phase,
): { readonly fired: () => string | undefined } {
  let seen = -1;
  let fired: string | undefined;
  runtime.fake.log.fault = async (phase, call) => {
    const { name } = call;
    if (!lifeCalls.has(name) || podOf(call) !== pod) return;
    if (phase === 'before') seen++;
    if (seen !== wanted || phase !== wantedPhase || fired !== undefined) return;
    fired = `${phase} ${name}`;
    await world.replaceKubelet('kill');
    // Who asked is gone; a call that was not begun is never made.
    throw new Error('killed');
  };
  return { fired: () => fired };
}

/** By name of container, how often it was started. */
function starts(pod: string): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { what, name } of runtime.fake.tasks.all) {
    if (what === 'start' && (name === pod || name.startsWith(`${pod}/`))) {
      found[name.slice(pod.length + 1)] = (found[name.slice(pod.length + 1)] ?? 0) + 1;
    }
  }
  return found;
}

describe('a kubelet that is killed', () => {
  it('at any change of the runtime in a pod’s life is followed by one that ends it well', async () => {
    const first = world.name('whole');
    const before = runtime.fake.log.calls.length;
    await live(first);
    const calls = runtime.fake.log.calls.slice(before).filter(({ name }) => lifeCalls.has(name));
    expect(calls.length).toBeGreaterThan(5);
    expect(starts(first)).toEqual({ '': 1, init: 1, main: 1 });
    const told: string[] = [];
    for (const phase of ['before', 'after'] as const) {
      for (let at = 0; at < calls.length; at++) {
        const name = world.name('killed');
        const { fired } = killAt(name, at, phase);
        await live(name);
        runtime.fake.log.fault = undefined;
        told.push(`${fired() ?? 'not killed'}: ${JSON.stringify(starts(name))}`);
      }
    }
    const usual = JSON.stringify({ '': 1, init: 1, main: 1 });
    expect(told).toEqual(told.map((text) => `${text.split(':')[0]}: ${usual}`));
    expect(told.filter((text) => text.startsWith('not killed')).length).toBeLessThan(4);
  }, 600_000);
});
