// A kubelet that is killed at any call that changes something of the runtime, and at any call to the API server about the pod or the node,
// before it or after it: the next one brings the pod to its end, and nothing ran twice by what the runtime itself told of its processes.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
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

/** Kills the kubelet at the call of this number, or at the first of this name. */
class Killing {
  readonly #at: number | string;
  readonly #moment: Moment;
  #seen = -1;
  /** Where it was. */
  fired: string | undefined;

  constructor(at: number | string, moment: Moment) {
    this.#at = at;
    this.#moment = moment;
  }

  readonly onCall: OnCall = async (moment, name) => {
    if (moment === 'before') this.#seen++;
    const isHere = this.#at === (typeof this.#at === 'number' ? this.#seen : name);
    if (!isHere || moment !== this.#moment) return false;
    if (this.fired !== undefined) return false;
    this.fired = `${moment} ${name}`;
    await world.replaceKubelet('kill');
    return true;
  };
}

/** A call of a name that was killed at in no life gets so many more. */
const triesOfName = 3;

type Listen = (pod: string, onCall: OnCall) => void;

/** Lives a pod's life again and again, each time with the kubelet killed at another call. */
async function everywhere(moment: Moment, listen: Listen): Promise<void> {
  const first = world.name('whole');
  const calls: string[] = [];
  listen(first, async (at, name) => {
    if (at === 'before') calls.push(name);
    return false;
  });
  await live(first);
  expect(calls.length).toBeGreaterThan(3);
  expect(starts(first)).toEqual({ '': 1, init: 1, main: 1 });
  const told: string[] = [];
  const fired = new Set<string | undefined>();
  const kill = async (at: number | string): Promise<void> => {
    const name = world.name('killed');
    const killing = new Killing(at, moment);
    listen(name, killing.onCall);
    await live(name);
    fired.add(killing.fired);
    told.push(`${killing.fired ?? 'not killed'}: ${JSON.stringify(starts(name))}`);
  };
  for (let at = 0; at < calls.length; at++) await kill(at);
  const missed = (name: string): boolean => !fired.has(`${moment} ${name}`);
  const names = [...new Set(calls)];
  for (const name of names) {
    for (let tries = 0; tries < triesOfName && missed(name); tries++) await kill(name);
  }
  const usual = JSON.stringify({ '': 1, init: 1, main: 1 });
  expect(told).toEqual(told.map((text) => `${text.split(':')[0]}: ${usual}`));
  // Now and then two changes of a status are told at once.
  expect(told.filter((text) => text.startsWith('not killed')).length).toBeLessThan(
    calls.length / 2,
  );
  expect(names.filter(missed)).toEqual([]);
}

const isRead = ({ verb }: TappedCall): boolean => verb === 'GET' || verb === 'watch';

/** Whether a call of the API server is about this pod: its object, an Event of it, or a token for it. */
function isOf(pod: string, { path, body }: TappedCall): boolean {
  const words = path.split('/');
  if (words.includes('events')) return body.includes(`"${pod}"`);
  return words.includes(pod) || path.endsWith('/token');
}

function textOf({ verb, path }: TappedCall): string {
  const words = path.split('/');
  return `${verb} ${words.includes('events') ? 'event' : words.at(-1)}`;
}

/** Whether it is about the node's own object or its lease. */
function isOfNode({ verb, path }: TappedCall): boolean {
  return verb !== 'watch' && /\/(?:nodes|leases)(?:\/|$)/.test(path);
}

describe.each(['before', 'after'] as const)('a kubelet that is killed %s it was done', (moment) => {
  afterEach(() => {
    runtime.cut = undefined;
    api.cut = undefined;
  });

  it('at any change of the runtime in a pod’s life is followed by one that ends it well', async () => {
    await everywhere(moment, (pod, onCall) => {
      runtime.cut = async (at, call) => call.pod === pod && onCall(at, call.name);
    });
  }, 600_000);

  it('at any call about a pod in its life is followed by one that ends it well', async () => {
    await everywhere(moment, (pod, onCall) => {
      api.cut = async (at, call) => {
        // That a read was done is no other case than that it was not.
        const counts = isOf(pod, call) && (moment === 'before' || !isRead(call));
        return counts && onCall(at, textOf(call).replace(pod, 'pod'));
      };
    });
  }, 600_000);

  it('at any call about its Node or lease is followed by one that has both, and its pods run on', async () => {
    const name = world.name('stays');
    const trial = new Trial(world, 0);
    await (await trial.pod({ containers: [box('main', forever)] }, { name })).running();
    const calls: string[] = [];
    const begin = async (onCall: OnCall): Promise<void> => {
      await world.replaceKubelet('kill', async () => {
        api.cut = async (at, call) =>
          isOfNode(call) && (moment === 'before' || !isRead(call)) && onCall(at, textOf(call));
      });
      await trial.kubeletWorks();
    };
    await begin(async (at, call) => {
      if (at === 'before') calls.push(call);
      return false;
    });
    expect(calls.length).toBeGreaterThan(0);
    for (let at = 0; at < calls.length; at++) {
      const killing = new Killing(at, moment);
      await begin(killing.onCall);
      await world.until(`killed ${moment} call ${at}`, () => killing.fired !== undefined);
      await hasNodeAndLease();
      await trial.kubeletWorks();
    }
    expect(starts(name)).toEqual({ '': 1, main: 1 });
    await trial.end();
  }, 600_000);
});

const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';

/** The node is Ready, and its lease is renewed from now on. */
async function hasNodeAndLease(): Promise<void> {
  await world.until('the node is Ready', async () => (await world.isReady()) === 'True');
  const renewed = async (): Promise<string | undefined> => {
    const path = `${leases}/${world.node}`;
    const lease = await world.cluster.get<{ spec: { renewTime: string } }>(path);
    return lease?.spec.renewTime;
  };
  const before = await renewed();
  await world.until('its lease is renewed', async () => {
    const now = await renewed();
    return now !== undefined && now !== before;
  });
}
