import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { PodStatus } from '../../src/kubelet/pod/pod-status.ts';
import { labels } from '../../src/kubelet/runtime/labels.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { listCgroups } from './cgroups.ts';
import { isReady } from './contract/test-pod.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { ClusterSetting } from './kubelet-cluster.ts';
import { testCgroup } from './kubelet-process.ts';
import type { KubeletProcess, KubeletSetting } from './kubelet-process.ts';
import { joinNodes, until } from './node-machine.ts';
import type { NodeMachine } from './node-machine.ts';
import { proxyFlags } from './proxy-flags.ts';
import { Runs } from './runs.ts';
import { SwitchyardProcess } from './switchyard-process.ts';

export type ProxyMode = 'iptables' | 'userspace';

/** A Pod as the API server has it. */
export interface PlacedPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status: PodStatus;
}

const plurals = {
  ConfigMap: 'api/v1/configmaps',
  DaemonSet: 'apis/apps/v1/daemonsets',
  Deployment: 'apis/apps/v1/deployments',
  EndpointSlice: 'apis/discovery.k8s.io/v1/endpointslices',
  Event: 'api/v1/events',
  Job: 'apis/batch/v1/jobs',
  Pod: 'api/v1/pods',
  ReplicaSet: 'apis/apps/v1/replicasets',
  Service: 'api/v1/services',
  StatefulSet: 'apis/apps/v1/statefulsets',
} as const;

export type WorkloadKind = keyof typeof plurals;

/**
 * Faster than usual, so that tests need not wait for minutes: a node that is silent for so long is not ready any more. Longer than a call to the
 * API server may take: a busy one must not cost the other node its readiness.
 */
const graceSeconds = 15;
const leaseSeconds = 4;

/** Two nodes of one cluster, on each of which Switchyard runs both halves: on the first as two processes, on the second as one. */
export class WorkloadCluster {
  readonly cluster: KubeletCluster;
  readonly control: ControlPlane;
  readonly runs = new Runs();
  readonly first: NodeMachine;
  readonly second: NodeMachine;
  readonly #kubelets = new Map<NodeMachine, KubeletProcess>();
  #ofFirst: KubeletSetting = {};
  #proxy: SwitchyardProcess | undefined;
  #mode: ProxyMode = 'iptables';

  constructor({ apiServerFlags = [] }: Pick<ClusterSetting, 'apiServerFlags'> = {}) {
    this.cluster = new KubeletCluster(['n1', 'n2'], {
      apiServerFlags,
      controllerFlags: [`--node-monitor-grace-period=${graceSeconds}s`, '--node-monitor-period=1s'],
    });
    this.control = this.cluster.control;
    const [first, second] = this.cluster.nodes;
    if (!first || !second) throw new Error('two nodes were asked for');
    this.first = first;
    this.second = second;
  }

  /** `ofFirst`: how the kubelet of the first node is set up, other than that of the second. */
  async start(ofFirst: KubeletSetting = {}): Promise<void> {
    this.#ofFirst = ofFirst;
    await this.cluster.start([pauseImage(), busyboxImage()]);
    await this.cluster.allowProxy(this.second);
    for (const node of this.cluster.nodes) {
      this.runs.follow(node);
      this.startAgents(node);
    }
    for (const node of this.cluster.nodes) await this.nodeReady(node, 'True');
    await this.until('the default account is there', async () => this.cluster.hasAccount());
  }

  async stop(): Promise<void> {
    this.runs.leave();
    await this.cluster.stop();
  }

  /** Both halves of a node. */
  startAgents(node: NodeMachine): void {
    const configuration = {
      nodeLeaseDurationSeconds: leaseSeconds,
      nodeStatusUpdateFrequency: '2s',
    };
    const flags = [`--proxy-mode=${this.#mode}`, ...proxyFlags(node)];
    const isOne = node === this.second;
    const own = this.#ofFirst;
    const setting = isOne
      ? { configuration, proxyFlags: flags }
      : { ...own, configuration: { ...configuration, ...own.configuration } };
    const kubelet = this.cluster.kubelet(node, setting);
    this.#kubelets.set(node, kubelet);
    kubelet.start();
    if (isOne) return;
    this.#proxy = new SwitchyardProcess(node, 'proxy', 'proxy.log');
    const who = [`--hostname-override=${node.name}`, `--kubeconfig=${this.control.kubeconfig()}`];
    this.#proxy.start([...who, ...flags]);
  }

  /** Other proxies in place of these, as by an upgrade: where both halves are one process, the kubelet is another one, too. */
  async proxyMode(mode: ProxyMode): Promise<void> {
    if (mode === this.#mode) return;
    this.#mode = mode;
    await this.#proxy?.end('TERM');
    for (const node of this.cluster.nodes) await this.kubelet(node).stop();
    for (const node of this.cluster.nodes) this.startAgents(node);
  }

  kubelet(node: NodeMachine): KubeletProcess {
    const found = this.#kubelets.get(node);
    if (!found) throw new Error(`no kubelet of ${node.name} was started`);
    return found;
  }

  /** Pulls the plug of a machine. */
  async switchOff(node: NodeMachine): Promise<void> {
    await node.crash();
    this.runs.switchedOff(node);
  }

  /** And switches it on again: its disk is as it was. */
  async switchOn(node: NodeMachine): Promise<void> {
    await node.start();
    joinNodes(this.cluster.nodes);
    this.startAgents(node);
  }

  async nodeReady(node: NodeMachine, status: 'True' | 'False' | 'Unknown'): Promise<void> {
    await this.until(`node ${node.name} is Ready: ${status}`, async () => {
      const found = await this.cluster.get<{ status: PodStatus }>(`/api/v1/nodes/${node.name}`);
      const ready = found?.status.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === status;
    });
  }

  /** Makes an object in the default namespace. */
  async make(
    kind: WorkloadKind,
    name: string,
    { metadata = {}, ...value }: { readonly metadata?: object; readonly [field: string]: unknown },
  ): Promise<void> {
    const [group = ''] = plurals[kind].split(/\/[^/]+$/);
    await this.control.must('POST', pathOf(kind), {
      apiVersion: group.replace(/^apis?\//, ''),
      kind,
      metadata: { name, ...metadata },
      ...value,
    });
  }

  async get<T>(kind: WorkloadKind, name: string): Promise<T | undefined> {
    return this.cluster.get<T>(`${pathOf(kind)}/${name}`);
  }

  /** By RFC 7386. */
  async change(kind: WorkloadKind, name: string, patch: object): Promise<void> {
    const type = 'application/merge-patch+json';
    await this.control.must('PATCH', `${pathOf(kind)}/${name}`, patch, type);
  }

  /** With all that it owns; waits until that is gone from the API. */
  async remove(kind: WorkloadKind, name: string, selector = `app=${name}`): Promise<void> {
    await this.control.must('DELETE', `${pathOf(kind)}/${name}?propagationPolicy=Foreground`);
    await this.until(`${kind} ${name} is gone with its pods`, async () => {
      const object = await this.get(kind, name);
      return object === undefined && (await this.pods(selector)).length === 0;
    });
  }

  /** Sorted by name. */
  async pods(selector: string): Promise<readonly PlacedPod[]> {
    return this.list<PlacedPod>('Pod', selector);
  }

  async list<T extends { readonly metadata: { readonly name: string } }>(
    kind: WorkloadKind,
    selector: string,
  ): Promise<readonly T[]> {
    const path = `${pathOf(kind)}?labelSelector=${encodeURIComponent(selector)}`;
    const items = (await this.cluster.get<{ items: T[] }>(path))?.items ?? [];
    return items.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** Waits until there are so many pods, all of them ready and none about to go; answers them. */
  async ready(
    selector: string,
    count: number,
    holds: (pod: PlacedPod) => boolean = () => true,
  ): Promise<readonly PlacedPod[]> {
    let found: readonly PlacedPod[] = [];
    await this.until(
      `${count} pods of ${selector} are ready`,
      async () => {
        found = await this.pods(selector);
        return found.length === count && found.every((pod) => isUp(pod) && holds(pod));
      },
      90,
      () => found.map(podLine),
    );
    return found;
  }

  /** Waits until the controller has seen the last change of its object, and counts so. */
  async tells(
    kind: WorkloadKind,
    name: string,
    counts: Readonly<Record<string, number>>,
  ): Promise<void> {
    interface Counted {
      readonly metadata: { readonly generation: number };
      readonly status: Readonly<Record<string, unknown>>;
    }
    let status: Counted['status'] = {};
    await this.until(
      `${kind} ${name} tells ${JSON.stringify(counts)}`,
      async () => {
        const found = await this.get<Counted>(kind, name);
        status = found?.status ?? {};
        const isSeen = status['observedGeneration'] === found?.metadata.generation;
        return isSeen && Object.entries(counts).every(([key, count]) => status[key] === count);
      },
      60,
      () => status,
    );
  }

  /** Runs a command in a pod's container, by the runtime of its node. */
  async exec(pod: PlacedPod, ...cmd: readonly string[]): Promise<string> {
    const node = this.cluster.nodes.find(({ name }) => name === pod.spec.nodeName);
    if (!node) throw new Error(`${pod.metadata.name} is on no node`);
    const { runtime } = node.connect();
    const labelSelector = { [labels.podUid]: pod.metadata.uid };
    const { containers } = await runtime.listContainers({ filter: { labelSelector } });
    const containerId = containers.find(({ state }) => state === 1)?.id;
    if (containerId === undefined) throw new Error(`${pod.metadata.name} does not run`);
    const answer = await runtime.execSync({ containerId, cmd: [...cmd], timeout: 20n });
    const text = new TextDecoder();
    if (answer.exitCode === 0) return text.decode(answer.stdout);
    throw new Error(`${cmd.join(' ')}: ${answer.exitCode} ${text.decode(answer.stderr)}`);
  }

  /** What the API server is told by the pod's node. */
  async logOf(pod: PlacedPod): Promise<string> {
    const { status, text } = await this.control.request(
      'GET',
      `${pathOf('Pod')}/${pod.metadata.name}/log`,
    );
    if (status !== 200) throw new Error(`log of ${pod.metadata.name}: ${status} ${text}`);
    return text;
  }

  /** What a node still has of these pods: nothing, if all is well. */
  async remains(node: NodeMachine, uids: ReadonlySet<string>): Promise<readonly string[]> {
    const { runtime } = node.connect();
    const { containers } = await runtime.listContainers({});
    const { items } = await runtime.listPodSandbox({});
    const isOne = (uid: string | undefined): boolean => uid !== undefined && uids.has(uid);
    const ran = (await this.runs.all()).filter(({ uid }) => isOne(uid)).map(({ id }) => id);
    const names = [...uids, ...ran];
    const tells = (line: string): boolean => names.some((name) => line.includes(name));
    const folder = join(node.folder, 'kubelet/pods');
    const listed = [
      ['container', containers.filter((each) => isOne(each.labels[labels.podUid]))],
      ['sandbox', items.filter((each) => isOne(each.labels[labels.podUid]))],
    ] as const;
    return [
      ...listed.flatMap(([what, all]) => all.map(({ id }) => `${what} ${id}`)),
      ...listCgroups(testCgroup).filter(tells),
      ...node.run('cat', '/proc/self/mountinfo').split('\n').filter(tells),
      ...node.run('sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "').split('\n').filter(tells),
      ...node.run('ls', '/var/log/pods').split('\n').filter(tells),
      ...(existsSync(folder) ? readdirSync(folder) : []).filter(tells),
    ];
  }

  /** Waits for a condition; a failure tells what the kubelets said last. */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    seconds = 60,
    more: () => unknown = () => '',
  ): Promise<void> {
    try {
      await until(what, condition, seconds);
    } catch (thrown) {
      const said = [...this.#kubelets].map(
        ([{ name }, kubelet]) => `${name}: ${kubelet.ended ?? kubelet.log.slice(-3000)}`,
      );
      const state = JSON.stringify(await more(), undefined, 1);
      throw new Error(`${String(thrown)}\n${state}\n${said.join('\n')}`, { cause: thrown });
    }
  }
}

function pathOf(kind: WorkloadKind): string {
  const plural = plurals[kind];
  const at = plural.lastIndexOf('/');
  return `/${plural.slice(0, at)}/namespaces/default${plural.slice(at)}`;
}

/** It is ready, and stays. */
export function isUp({ metadata, status }: PlacedPod): boolean {
  return metadata.deletionTimestamp === undefined && isReady(status);
}

/** How often its containers were started anew. */
export function restarts({ status }: PlacedPod): number {
  return (status.containerStatuses ?? []).reduce((sum, each) => sum + each.restartCount, 0);
}

function podLine(pod: PlacedPod): string {
  const { metadata, spec, status } = pod;
  const going = metadata.deletionTimestamp === undefined ? '' : ', is to go';
  const states = JSON.stringify(status.containerStatuses?.map(({ state }) => state));
  return `${metadata.name} on ${spec.nodeName}: ${status.phase}${going}, ${states}`;
}

interface PodTemplate {
  readonly metadata: object;
  readonly spec: object;
  readonly [field: string]: unknown;
}

/** What a workload's pods are: `app=NAME`, one container of busybox. */
export function template(
  app: string,
  script: string,
  more: object = {},
  spec: object = {},
): PodTemplate {
  const container = {
    name: 'main',
    image: 'docker.io/local/busybox:1',
    command: ['sh', '-c', script],
    ...more,
  };
  const metadata = { labels: { app } };
  return {
    metadata,
    spec: { terminationGracePeriodSeconds: 10, containers: [container], ...spec },
  };
}

/** One pod on each node, as long as there are as many nodes. */
export function spread(app: string): object {
  const topologySpreadConstraints = [
    {
      maxSkew: 1,
      topologyKey: 'kubernetes.io/hostname',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app } },
      matchLabelKeys: ['pod-template-hash'],
    },
  ];
  return { topologySpreadConstraints };
}

/** How a workload knows its pods. */
export function chosen(app: string): object {
  return { selector: { matchLabels: { app } } };
}

/** Waits, and ends with the signal. */
export const waits = 'trap "exit 0" TERM; sleep 100000 & wait';

/** Serves at 8080: which version it is, of which pod. */
export const serves =
  'echo $VERSION $(hostname) > /www/index.html; trap "exit 0" TERM; httpd -f -p 8080 -h /www & wait';
