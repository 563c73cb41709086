// A kubelet that is killed at any call that changes something, of the runtime or of the API server, before it or after it, in a pod's whole
// life: the next one brings the pod to its end, and nothing ran twice by what the runtime itself told of its processes.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiTap, Moment, TappedCall } from './api-tap.ts';
import { containerdRuntime } from './contract/runtimes.ts';
import { Trial, box, forever } from './contract/trial.ts';
import { World } from './contract/world.ts';
import { CriTap } from './cri-tap.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';

const cluster = new KubeletCluster(['n1']);
let world: World;
let api: ApiTap;
let runtime: CriTap;

beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage()]);
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('no node');
  const { tap, kubeconfig } = await cluster.tap(node);
  api = tap;
  runtime = new CriTap(join(node.folder, 'tap.sock'), node.socket);
  await runtime.start();
  const configuration = { containerRuntimeEndpoint: `unix://${runtime.socket}` };
  world = new World(containerdRuntime(node), cluster, { kubeconfig, configuration });
  await world.start();
});

afterAll(async () => {
  await world.stop();
  runtime.stop();
  await api.stop();
  await cluster.stop();
});

/** Starts a pod, waits until it is ready, deletes it, and waits until it is gone. */
async function live(name: string): Promise<void> {
  const spec = { initContainers: [box('init', 'exit 0')], containers: [box('main', forever)] };
  const pod = await new Trial(world, 0).pod(spec, { name });
  await pod.running();
  await pod.remove();
}

/** By name of container, how often it was started; '': the sandbox. */
function starts(pod: string): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const [id, made] of runtime.made) {
    const count = world.tasks.starts(id);
    if (made.pod === pod && count > 0) found[made.name] = (found[made.name] ?? 0) + count;
  }
  return found;
}

/** Told of a moment of a call that counts in a pod's life; true: the kubelet was killed, and the call is to have no answer. */
type OnCall = (moment: Moment, name: string) => Promise<boolean>;

/** Kills the kubelet at the call of this number. */
class Killing {
  readonly #number: number;
  readonly #moment: Moment;
  #seen = -1;
  /** Where it was. */
  fired: string | undefined;

  constructor(number: number, moment: Moment) {
    this.#number = number;
    this.#moment = moment;
  }

  readonly onCall: OnCall = async (moment, name) => {
    if (moment === 'before') this.#seen++;
    if (this.#seen !== this.#number || moment !== this.#moment) return false;
    if (this.fired !== undefined) return false;
    this.fired = `${moment} ${name}`;
    await world.replaceKubelet('kill');
    return true;
  };
}

/** Lives a pod's life again and again, each time with the kubelet killed at another moment. */
async function everywhere(listen: (pod: string, onCall: OnCall) => void): Promise<void> {
  const first = world.name('whole');
  const calls: string[] = [];
  listen(first, async (moment, name) => {
    if (moment === 'before') calls.push(name);
    return false;
  });
  await live(first);
  expect(calls.length).toBeGreaterThan(3);
  expect(starts(first)).toEqual({ '': 1, init: 1, main: 1 });
  const told: string[] = [];
  for (const moment of ['before', 'after'] as const) {
    for (let at = 0; at < calls.length; at++) {
      const name = world.name('killed');
      const killing = new Killing(at, moment);
      listen(name, killing.onCall);
      await live(name);
      told.push(`${killing.fired ?? 'not killed'}: ${JSON.stringify(starts(name))}`);
    }
  }
  const usual = JSON.stringify({ '': 1, init: 1, main: 1 });
  expect(told).toEqual(told.map((text) => `${text.split(':')[0]}: ${usual}`));
  // Now and then two changes of a status are told at once.
  expect(told.filter((text) => text.startsWith('not killed')).length).toBeLessThan(
    calls.length / 2,
  );
}

/** Whether a call of the API server changes something of this pod, or asks for its token. */
function isOf(pod: string, { verb, path }: TappedCall): boolean {
  if (verb === 'GET' || verb === 'watch') return false;
  return path.split('/').includes(pod) || path.endsWith('/token');
}

describe('a kubelet that is killed', () => {
  it('at any change of the runtime in a pod’s life is followed by one that ends it well', async () => {
    await everywhere((pod, onCall) => {
      runtime.cut = async (moment, call) => call.pod === pod && onCall(moment, call.name);
    });
    runtime.cut = undefined;
  }, 600_000);

  it('at any change of a pod’s object in its life is followed by one that ends it well', async () => {
    await everywhere((pod, onCall) => {
      api.cut = async (moment, call) =>
        isOf(pod, call) && onCall(moment, `${call.verb} ${call.path.split('/').at(-1)}`);
    });
    api.cut = undefined;
  }, 600_000);
});
