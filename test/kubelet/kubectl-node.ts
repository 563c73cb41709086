import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { tokens } from '../cluster/control-plane.ts';
import { busyboxImage, pauseImage } from './images.ts';
import type { BuiltImage } from './images.ts';
import { Kubectl } from './kubectl.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { ClusterSetting } from './kubelet-cluster.ts';
import type { KubeletProcess, KubeletSetting } from './kubelet-process.ts';
import type { NodeMachine } from './node-machine.ts';

const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache/switchyard');
const program = join(cache, 'tools/kubectl');

/** Whether there is a kubectl to be used: main.ts fetches it. */
export const hasKubectl = existsSync(program);
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
  readonly cluster: KubeletCluster;
  readonly machine: NodeMachine;
  #kubectl: Kubectl | undefined;
  #kubelet: KubeletProcess | undefined;

  constructor(setting: ClusterSetting = {}) {
    this.cluster = new KubeletCluster(['n1'], setting);
    const [node] = this.cluster.nodes;
    if (node === undefined) throw new Error('no node');
    this.machine = node;
  }

  async start(setting: KubeletSetting = {}, images: readonly BuiltImage[] = []): Promise<void> {
    await this.cluster.start([pauseImage(), busyboxImage(), ...images]);
    const kubeconfig = this.cluster.control.kubeconfig({ token: tokens.admin, name: 'kubectl' });
    this.#kubectl = new Kubectl(program, kubeconfig);
    if (setting.proxyFlags !== undefined) await this.cluster.allowProxy(this.machine);
    this.#kubelet = this.cluster.kubelet(this.machine, setting);
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

  get kubectl(): Kubectl {
    if (this.#kubectl === undefined) throw new Error('it was not started');
    return this.#kubectl;
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
    await this.kubelet.until(`${name} ${what}`, async () => {
      const pod = await this.cluster.get<Seen>(`${podsPath}/${name}`);
      return pod !== undefined && holds(pod);
    });
  }
}
