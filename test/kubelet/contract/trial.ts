import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TestPod } from './test-pod.ts';
import type { ApiPod } from './test-pod.ts';
import { fabricAddress } from '../node-machine.ts';
import type { KubeletSetting } from '../kubelet-process.ts';
import type { Offer } from './registry.ts';
import { UrlPods } from './url-pods.ts';
import type { World } from './world.ts';

/** One run of a scenario in a world. What it makes has names that nothing else has, and is gone when it ends. */
export class Trial {
  readonly world: World;
  readonly #number: number;
  readonly #leave: (() => Promise<unknown>)[] = [];
  #isOther = false;

  constructor(world: World, number: number) {
    this.world = world;
    this.#number = number;
  }

  name(): string {
    return this.world.name(`s${this.#number}`);
  }

  /** What is done at the end, before all that was said earlier. */
  leave(work: () => Promise<unknown>): void {
    this.#leave.push(work);
  }

  /** Makes a pod on this node, without a scheduler. */
  async pod(spec: object, metadata: object = {}): Promise<TestPod> {
    const grace = { terminationGracePeriodSeconds: 2 };
    const made = await this.create<ApiPod>('Pod', 'pods', {
      metadata,
      spec: { nodeName: this.world.node, ...grace, ...spec },
    });
    const pod = new TestPod(this.world, made.metadata);
    this.#leave.push(async () => pod.remove());
    return pod;
  }

  /** One of one container that waits, when it is ready. */
  async runningPod(): Promise<TestPod> {
    const pod = await this.pod(one(forever));
    await pod.running();
    return pod;
  }

  /** Makes an object in the namespace default; gives it as it is stored. */
  async create<T>(kind: string, resource: string, { metadata, ...rest }: Given): Promise<T> {
    const object = {
      apiVersion: 'v1',
      kind,
      metadata: { name: this.name(), ...metadata },
      ...rest,
    };
    const path = `/api/v1/namespaces/default/${resource}`;
    return (await this.world.cluster.control.must('POST', path, object)) as T;
  }

  async configMap(name: string, data: object): Promise<void> {
    await this.create('ConfigMap', 'configmaps', { metadata: { name }, data });
  }

  async secret(name: string, stringData: object): Promise<void> {
    await this.create('Secret', 'secrets', { metadata: { name }, stringData });
  }

  /** A Secret of a docker configuration. */
  async pullSecret(config: object): Promise<{ readonly name: string }> {
    const type = 'kubernetes.io/dockerconfigjson';
    const stringData = { '.dockerconfigjson': JSON.stringify(config) };
    return (await this.create<ApiPod>('Secret', 'secrets', { type, stringData })).metadata;
  }

  /** Changes an object as `kubectl patch --type=merge` does. */
  async merge(resource: string, name: string, change: object): Promise<void> {
    const path = `/api/v1/namespaces/default/${resource}/${name}`;
    await this.world.cluster.control.must('PATCH', path, change, 'application/merge-patch+json');
  }

  /** Writes the manifest of a pod. */
  async staticPod(spec: object, metadata: object = {}): Promise<StaticPod> {
    const { world } = this;
    const pod = new StaticPod(world, this.name());
    this.#leave.push(async () => pod.remove());
    await pod.write(spec, metadata);
    return pod;
  }

  /** A kubelet in place of the usual one that has pods of a URL, too; at the end there are none of it any more. */
  async urlPods(): Promise<UrlPods> {
    const pods = new UrlPods();
    await pods.start();
    this.#leave.push(async () => pods.stop());
    await this.otherKubelet({
      configuration: { staticPodURL: pods.url, httpCheckFrequency: '1s' },
    });
    return pods;
  }

  /** An image that is not on the node and can be pulled; its name in full. */
  offer(name: string, offer: Offer = {}): string {
    const { registry } = this.world.runtime;
    if (registry === undefined) throw new Error('this world has no registry');
    registry.offer(name, offer);
    return `${registry.host}/${name}`;
  }

  /** A web server where the test is, which nodes and pods reach; its port. */
  async server(answer: RequestListener): Promise<number> {
    const server = createServer(answer);
    this.#leave.push(async () => {
      server.close();
      server.closeAllConnections();
      return Promise.resolve();
    });
    await once(server.listen(0, fabricAddress), 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** A file in the kubelet's root directory. */
  nodeFile(name: string, text: string): void {
    const path = join(this.world.runtime.node.folder, 'kubelet', name);
    writeFileSync(path, text, { mode: 0o600 });
    this.#leave.push(async () => {
      rmSync(path);
      return Promise.resolve();
    });
  }

  /** A folder of the node that pods can have as a hostPath, and the test reads. */
  folder(): { readonly path: string; read(file: string): string } {
    const path = join(this.world.runtime.node.folder, this.name());
    mkdirSync(path, { recursive: true });
    this.#leave.push(async () => rmSync(path, { recursive: true, force: true }));
    return { path, read: (file) => readFileSync(join(path, file), 'utf8') };
  }

  /** Kills the kubelet and starts one that is set up otherwise, until the end at most. */
  async otherKubelet(setting: KubeletSetting): Promise<void> {
    this.#leave.push(async () => this.usualKubelet());
    await this.world.replaceKubelet('kill', undefined, setting);
    this.#isOther = true;
  }

  async usualKubelet(): Promise<void> {
    if (this.#isOther) await this.world.replaceKubelet('kill');
    this.#isOther = false;
  }

  /** Another pod comes to run: what only a kubelet can bring about that has taken up its work. */
  async kubeletWorks(): Promise<void> {
    const pod = await this.runningPod();
    await pod.remove();
  }

  /** At the end, whatever became of the scenario: nothing is left to the next. */
  async end(): Promise<void> {
    const failed: unknown[] = [];
    for (const leave of this.#leave.toReversed()) {
      await leave().catch((error: unknown) => failed.push(error));
    }
    if (failed.length > 0) throw failed[0];
  }
}

type Given = { readonly metadata?: object } & Readonly<Record<string, unknown>>;

/** A pod that comes of a manifest on the node; the API server knows its mirror. */
export class StaticPod {
  readonly file: string;
  readonly mirrorName: string;
  readonly #world: World;
  readonly #name: string;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
    this.file = `${name}.yaml`;
    this.mirrorName = `${name}-${world.node}`;
  }

  /** Puts its manifest there, or another in its place. */
  async write(spec: object, metadata: object = {}): Promise<void> {
    const grace = { terminationGracePeriodSeconds: 2 };
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: this.#name, ...metadata },
      spec: { ...grace, ...spec },
    };
    this.#world.kubelet.writeManifest(this.file, JSON.stringify(pod));
  }

  async mirror(): Promise<ApiPod | undefined> {
    return this.#world.cluster.get(`/api/v1/namespaces/default/pods/${this.mirrorName}`);
  }

  /** Waits for a mirror of another version than this one; gives the pod as the runtime knows it. */
  async mirrored(than?: string): Promise<TestPod> {
    let hash = '';
    await this.#world.until(`static pod ${this.#name} has a mirror`, async () => {
      hash = (await this.mirror())?.metadata.annotations?.['kubernetes.io/config.hash'] ?? '';
      return hash !== '' && hash !== than;
    });
    return new TestPod(this.#world, { name: this.mirrorName, uid: hash });
  }

  async remove(): Promise<void> {
    rmSync(join(this.#world.kubelet.manifests, this.file), { force: true });
    await this.#world.until(
      `the mirror of ${this.#name} is gone`,
      async () => (await this.mirror()) === undefined,
    );
  }
}

/** A container of busybox that runs this script. */
export function box(name: string, script: string, more: object = {}): object {
  return { name, image: 'docker.io/local/busybox:1', command: ['sh', '-c', script], ...more };
}

/** A pod of one container, which runs this script. */
export function one(script: string, more: object = {}): object {
  return { containers: [box('main', script, more)] };
}

/** Waits, and ends with the signal. */
export const forever = 'trap "exit 0" TERM; while true; do sleep 0.1; done';
