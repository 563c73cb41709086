import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { tokens } from '../cluster/control-plane.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess, KubeletSetting } from './kubelet-process.ts';
import { said } from './said.ts';
import type { Said } from './said.ts';

const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache/switchyard');
const kubectl = join(cache, 'tools/kubectl');

/** Whether there is a kubectl to be used: main.ts fetches it. */
export const hasKubectl = existsSync(kubectl);
if (!hasKubectl) console.warn('skipped: no kubectl; `npm run test:kubelet` says why');

export const podsPath = '/api/v1/namespaces/default/pods';

interface Seen {
  readonly status: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly containerStatuses?: readonly {
      readonly state: object;
      readonly restartCount: number;
    }[];
    readonly ephemeralContainerStatuses?: readonly {
      readonly name: string;
      readonly state: object;
    }[];
  };
}

/** Its first container runs. */
export const isRunning = ({ status }: Seen): boolean =>
  Object.hasOwn(status.containerStatuses?.[0]?.state ?? {}, 'running');

/** A node with its kubelet, a control plane, and a real kubectl of an administrator. */
export class KubectlNode {
  readonly cluster = new KubeletCluster(['n1']);
  #kubeconfig = '';
  #kubelet: KubeletProcess | undefined;

  async start(setting: KubeletSetting = {}): Promise<void> {
    await this.cluster.start([pauseImage(), busyboxImage()]);
    this.#kubeconfig = this.cluster.control.kubeconfig({ token: tokens.admin, name: 'kubectl' });
    const [node] = this.cluster.nodes;
    if (node === undefined) throw new Error('no node');
    this.#kubelet = this.cluster.kubelet(node, setting);
    this.#kubelet.start();
    await this.cluster.control.until('there is a default account', async () =>
      this.cluster.hasAccount(),
    );
  }

  async stop(): Promise<void> {
    await this.#kubelet?.stop();
    await this.cluster.stop();
  }

  get kubelet(): KubeletProcess {
    if (this.#kubelet === undefined) throw new Error('it was not started');
    return this.#kubelet;
  }

  /** For a shell. */
  commandLine(...args: readonly string[]): string {
    return [kubectl, `--kubeconfig=${this.#kubeconfig}`, ...args].join(' ');
  }

  /** Whatever it ends with. */
  async ask(...args: readonly string[]): Promise<Said> {
    return this.askFor(60_000, ...args);
  }

  /** The same, for what takes longer. */
  async askFor(timeout: number, ...args: readonly string[]): Promise<Said> {
    return said(kubectl, [`--kubeconfig=${this.#kubeconfig}`, ...args], timeout);
  }

  /** One that goes on; whoever starts it ends it. */
  spawn(...args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(kubectl, [`--kubeconfig=${this.#kubeconfig}`, ...args]);
  }

  /** With one container, `main`, that runs a script. */
  async startPod(
    name: string,
    script: string,
    { container = {}, spec = {} }: { readonly container?: object; readonly spec?: object } = {},
  ): Promise<void> {
    const main = {
      name: 'main',
      image: 'local/busybox:1',
      imagePullPolicy: 'Never',
      command: ['sh', '-c', script],
      ...container,
    };
    await this.cluster.control.must('POST', podsPath, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { nodeName: 'n1', terminationGracePeriodSeconds: 1, containers: [main], ...spec },
    });
  }

  async untilPod(name: string, what: string, holds: (pod: Seen) => boolean): Promise<void> {
    const seen = async (): Promise<boolean> => {
      if (this.kubelet.ended !== undefined) throw new Error(this.kubelet.ended);
      const pod = await this.cluster.get<Seen>(`${podsPath}/${name}`);
      return pod !== undefined && holds(pod);
    };
    try {
      await this.cluster.control.until(`${name} ${what}`, seen);
    } catch (cause) {
      throw new Error(`${String(cause)}\n${this.kubelet.log.slice(-8000)}`, { cause });
    }
  }
}
