import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { busyboxImage, pauseImage } from '../../kubelet/images.ts';
import { KubeletCluster } from '../../kubelet/kubelet-cluster.ts';
import type { KubeletProcess, KubeletSetting } from '../../kubelet/kubelet-process.ts';
import { until } from '../../kubelet/node-machine.ts';
import type { NodeMachine } from '../../kubelet/node-machine.ts';
import { cpuTicks, memory } from '../upstream/figures.ts';
import type { Memory } from '../upstream/figures.ts';
import type { Row } from '../upstream/rows.ts';
import { ApiWatch } from './api-watch.ts';

/** How much a run does. */
export interface KubeletScale {
  /** Pods of the one apply. */
  readonly pods: number;
  /** Pods at one a second. */
  readonly paced: number;
  /** For how long all rests before memory is read. */
  readonly settleMs: number;
}

/** A part of the benchmark: a table of its own. */
export interface KubeletPart {
  title(scale: KubeletScale): string;
  run(bench: KubeletBench, scale: KubeletScale, note: (row: Row) => void): Promise<void>;
}

export const podsPath = '/api/v1/namespaces/default/pods';

/** Clock ticks of /proc/PID/stat in a second. */
const ticksPerSecond = 100;

/** One node with the agent as it is shipped, and a watch of its own on the API server, which is no part of the agent. */
export class KubeletBench {
  readonly cluster = new KubeletCluster(['n1']);
  readonly node: NodeMachine;
  readonly progress: (text: string) => void;
  readonly #bundle: string;
  #watch: ApiWatch | undefined;
  #agent: KubeletProcess | undefined;

  constructor(bundle: string, progress: (text: string) => void) {
    this.#bundle = bundle;
    this.progress = progress;
    const [node] = this.cluster.nodes;
    if (node === undefined) throw new Error('no node');
    this.node = node;
  }

  async start(): Promise<void> {
    await this.cluster.start([pauseImage(), busyboxImage()]);
    await this.cluster.allowProxy(this.node);
    this.#watch = new ApiWatch(this.cluster.control);
    await this.#watch.start();
    this.startAgent();
    await until('the node is Ready', () => this.watch.nodeReportedMs > 0);
    await until('there is an account for pods', async () => this.cluster.hasAccount());
  }

  get watch(): ApiWatch {
    if (this.#watch === undefined) throw new Error('nothing is watched yet');
    return this.#watch;
  }

  get agent(): KubeletProcess {
    if (this.#agent === undefined) throw new Error('no agent was started');
    return this.#agent;
  }

  /** The agent, or the next one after it was ended. */
  startAgent(setting: KubeletSetting = {}): void {
    this.#agent = this.cluster.kubelet(this.node, { program: this.#bundle, ...setting });
    this.#agent.start();
  }

  /** CPU time that the agent and the programs it ran have used. */
  agentCpuSeconds(): number {
    return cpuTicks(readFileSync(`/proc/${this.agent.pid}/stat`, 'utf8')) / ticksPerSecond;
  }

  agentMemory(): Memory {
    return memory(readFileSync(`/proc/${this.agent.pid}/status`, 'utf8'));
  }

  /** Waits for a condition; an agent that has ended fails it at once. */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    seconds = 180,
  ): Promise<void> {
    const checked = async (): Promise<boolean> => {
      if (this.agent.ended !== undefined)
        throw new Error(`the agent has ended while ${what} was waited for`);
      return condition();
    };
    await until(what, checked, seconds);
  }

  /** Deletes all pods of this label and waits until none is there. */
  async removePods(label: string): Promise<void> {
    const selector = `labelSelector=${encodeURIComponent(label)}`;
    await this.cluster.control.must('DELETE', `${podsPath}?${selector}`);
    await this.until(`the pods of ${label} are gone`, async () => {
      await delay(200);
      const list = await this.cluster.get<{ items: readonly object[] }>(`${podsPath}?${selector}`);
      return list?.items.length === 0;
    });
  }
}

/** What each pod of the benchmark is: one container, whose image is there, and a token as every pod has. */
export const podSpec = {
  terminationGracePeriodSeconds: 1,
  containers: [
    {
      name: 'main',
      image: 'docker.io/local/busybox:1',
      imagePullPolicy: 'IfNotPresent',
      command: ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'],
    },
  ],
};

/** Megabytes with their limit. */
export function memoryRow(what: string, { residentMiB, peakMiB }: Memory, limitMiB: number): Row {
  return {
    what,
    own: {
      value: residentMiB,
      text: `${residentMiB.toFixed(0)} MiB (peak ${peakMiB.toFixed(0)} MiB)`,
    },
    target: { kind: 'limit', limit: limitMiB, text: `${limitMiB} MiB` },
  };
}
