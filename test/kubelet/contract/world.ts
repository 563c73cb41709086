import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Cri } from '../../../src/kubelet/cri/client.ts';
import type { PodStatus } from '../../../src/kubelet/pod/pod-status.ts';
import type { KubeletCluster } from '../kubelet-cluster.ts';
import { testCgroup } from '../kubelet-process.ts';
import type { KubeletProcess, KubeletSetting } from '../kubelet-process.ts';
import { until } from '../node-machine.ts';
import type { NodeMachine } from '../node-machine.ts';
import type { Registry } from './registry.ts';
import { Tasks } from './tasks.ts';

/** What runs a world's containers, and where its kubelet runs. */
export interface WorldRuntime {
  readonly kind: 'containerd' | 'memory';
  readonly node: NodeMachine;
  /** Where it pulls images from that are not there. */
  readonly registry: Registry | undefined;
  connect(): Cri;
  /** Whether new pods get addresses. */
  setNetwork(works: boolean): void;
  /** The machine starts anew, without a kubelet; its disk stays. */
  reboot(): Promise<void>;
  stop(): Promise<void>;
}

/** A node with one kubelet, of a cluster: what a scenario of the contract acts on, whatever runs the containers. */
export class World {
  readonly runtime: WorldRuntime;
  readonly cluster: KubeletCluster;
  readonly cri: Cri;
  readonly tasks: Tasks;
  readonly #setting: KubeletSetting;
  kubelet: KubeletProcess;
  #last = 0;
  #isAway = false;

  constructor(runtime: WorldRuntime, cluster: KubeletCluster, setting: KubeletSetting = {}) {
    this.runtime = runtime;
    this.cluster = cluster;
    this.cri = runtime.connect();
    this.tasks = new Tasks(this.cri);
    this.#setting = setting;
    this.kubelet = cluster.kubelet(runtime.node, setting);
  }

  get node(): string {
    return this.runtime.node.name;
  }

  /** For what others than its kubelet run on it. */
  get cgroup(): string {
    return `/${testCgroup}/${this.node}/others`;
  }

  async start(): Promise<void> {
    this.tasks.follow();
    this.kubelet.start();
    await this.until('the node is Ready', async () => (await this.isReady()) === 'True');
    await this.until('the default account is there', async () => this.cluster.hasAccount());
  }

  async stop(): Promise<void> {
    this.tasks.leave();
    await this.kubelet.kill();
    await this.runtime.stop();
  }

  /** Status of the node's condition Ready. */
  async isReady(): Promise<string | undefined> {
    return this.condition('Ready');
  }

  /** Status of a condition of the node: `True`, `False`, `Unknown`. */
  async condition(type: string): Promise<string | undefined> {
    const node = await this.cluster.get<{ status: PodStatus }>(`/api/v1/nodes/${this.node}`);
    return node?.status.conditions?.find((each) => each.type === type)?.status;
  }

  /** A name that nothing else in this world has. */
  name(of: string): string {
    return `${of}-${this.runtime.kind}-${++this.#last}`;
  }

  /**
   * Ends the kubelet by a signal, lets something happen while there is none, and starts another one, set up as the first unless it is
   * told otherwise.
   */
  async replaceKubelet(
    signal: 'kill' | 'stop',
    meanwhile: () => Promise<void> = async () => {},
    setting: KubeletSetting = {},
  ): Promise<void> {
    this.#isAway = true;
    try {
      await this.kubelet[signal]();
      await meanwhile();
      this.kubelet = this.cluster.kubelet(this.runtime.node, { ...this.#setting, ...setting });
      this.kubelet.start();
    } finally {
      this.#isAway = false;
    }
  }

  /** UIDs of the pods that have a folder on the node's disk. */
  podFolders(): readonly string[] {
    return readdirSync(join(this.runtime.node.folder, 'kubelet/pods'));
  }

  /** Waits for a condition; a failure tells what the kubelet said last. */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    seconds = 60,
    more: () => unknown = () => '',
  ): Promise<void> {
    const check = async (): Promise<boolean> => {
      const { ended } = this.kubelet;
      if (ended !== undefined && !this.#isAway)
        throw new Error(`the kubelet ${ended.slice(-3000)}`);
      return condition();
    };
    try {
      await until(what, check, seconds);
    } catch (thrown) {
      const state = JSON.stringify(await more(), undefined, 1);
      const message = `${this.runtime.kind}: ${String(thrown)}\n${state}\n${this.kubelet.log.slice(-3000)}`;
      throw new Error(message, { cause: thrown });
    }
  }
}
