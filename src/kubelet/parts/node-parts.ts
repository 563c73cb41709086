import { readDiskSpace } from '../../host/disk-space.ts';
import type { DiskSpace } from '../../host/disk-space.ts';
import { Informer } from '../../informer/informer.ts';
import type { WholeNode } from '../../services/node-kind.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { PressureWatch } from '../node/pressure-watch.ts';
import { nodeCapacity } from '../node/capacity.ts';
import { NodeLease } from '../node/node-lease.ts';
import { ownLabels } from '../node/node-object.ts';
import { nodeObjectOf, ownNodeKind } from '../node/own-node.ts';
import { readNode } from '../node/node-readings.ts';
import { NodeReporter } from '../node/node-reporter.ts';
import { quantityOf } from '../pod/quantity.ts';
import type { Quantity } from '../pod/quantity.ts';
import { amountsOf } from '../pod/resources.ts';
import type { AdmissionNode } from '../sources/admission.ts';
import type { MirrorOwner } from '../sources/mirror-pods.ts';

const askEveryMs = 100;

/** The node: its object and lease, where there is an API server, and what pods may use of it. */
export class NodeParts {
  /** Without an API server too. */
  readonly pressures: PressureWatch;
  readonly #base: KubeletBase;
  readonly #reporter: NodeReporter | undefined;
  readonly #lease: NodeLease | undefined;
  readonly #watch: Informer<WholeNode> | undefined;
  #disk: DiskSpace | undefined;
  #isShuttingDown = false;
  #stopping: AbortSignal = new AbortController().signal;

  constructor(base: KubeletBase) {
    this.#base = base;
    this.pressures = new PressureWatch(base.config.eviction);
    const { api, config, clock, log, random, nodeName: name, nodeIps: ips } = base;
    if (api === undefined) return;
    this.#reporter = new NodeReporter({
      client: api.client,
      name,
      ips,
      clock,
      log,
      random,
      api: api.objects('v1', 'nodes'),
      settings: config.node,
      pressures: this.pressures,
      port: config.server.bind?.port ?? 0,
      machine: base.machine,
      read: async () => this.read(),
      health: base.health,
      problems: () => (this.#isShuttingDown ? ['node is shutting down'] : []),
      events: base.events.ofNode,
    });
    this.#lease = new NodeLease({
      name,
      seconds: config.node.leaseSeconds,
      clock,
      log,
      random,
      api: api.objects('coordination.k8s.io/v1', 'leases'),
      nodeUid: () => this.#reporter?.node?.metadata.uid,
    });
    const seen = (node: WholeNode): void => this.#reporter?.seen(nodeObjectOf(node));
    this.#watch = new Informer({
      source: api.source(ownNodeKind(name)),
      handlers: [{ added: seen, updated: (_before, node) => seen(node) }],
      log,
      name: 'nodes',
    });
  }

  /** What the node has now of what it can run out of. */
  async read(): ReturnType<typeof readNode> {
    return readNode(this.#base.rootDir, this.#base.health.imageFolder);
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    this.#stopping = signal;
    this.#disk = await readDiskSpace(this.#base.rootDir).catch(() => undefined);
    await Promise.all([
      this.#reporter?.run(signal),
      this.#lease?.run(signal),
      this.#watch?.start(signal),
    ]);
  }

  /** Resolves when this node's object has been read once; at once without an API server. */
  async known(signal: AbortSignal): Promise<void> {
    if (this.#reporter === undefined) return;
    while (this.owner === undefined && !signal.aborted)
      await this.#base.clock.sleep(askEveryMs, signal);
  }

  /** Addresses and names of the node, sorted; none: a cloud controller has not said them yet. */
  get addresses(): readonly string[] {
    const { config, nodeIps, nodeName } = this.#base;
    if (!config.node.externalCloud) return [...new Set([...nodeIps, nodeName])].toSorted();
    const told = this.#reporter?.node?.status?.addresses ?? [];
    return [...new Set(told.map(({ address }) => address))].toSorted();
  }

  /** undefined: it is not registered yet. */
  get owner(): MirrorOwner | undefined {
    const { name, uid } = this.#reporter?.node?.metadata ?? {};
    return name === undefined || uid === undefined ? undefined : { name, uid };
  }

  /** Reads this node's object anew; nothing where there is no API server, or it does not answer. */
  async refresh(): Promise<void> {
    await this.#reporter?.refresh(this.#stopping).catch(() => {});
  }

  /** The machine is being shut down, or is not any more: the node is not ready then, and takes no pod. */
  shuttingDown(is: boolean): void {
    this.#isShuttingDown = is;
    this.#reporter?.ring();
  }

  /** What pods can have of a resource. */
  allocatable(resource: string): Quantity | undefined {
    const text = this.#allocatable()[resource];
    return text === undefined ? undefined : quantityOf(text);
  }

  /** As selectors of nodes match it. */
  get matched(): Pick<AdmissionNode, 'name' | 'labels'> {
    const { nodeName: name, config, machine } = this.#base;
    const labels = this.#reporter?.node?.metadata.labels ?? {
      ...config.node.labels,
      ...ownLabels(name, machine.architecture),
    };
    return { name, labels };
  }

  /** As pods are let onto it. */
  admission(features: Pick<AdmissionNode, 'hasAppArmor' | 'hasGroupsPolicy'>): AdmissionNode {
    const { config, clock } = this.#base;
    const node = this.#reporter?.node;
    return {
      ...features,
      ...this.matched,
      taints: node?.spec?.taints ?? [],
      allocatable: amountsOf(this.#allocatable()),
      pressures: this.pressures.pressures(clock.monotonic()),
      isShuttingDown: this.#isShuttingDown,
      allowedUnsafeSysctls: config.runtime.allowedUnsafeSysctls,
    };
  }

  #allocatable(): Readonly<Record<string, string>> {
    const { machine, config } = this.#base;
    const capacity = this.#reporter?.capacity ?? nodeCapacity(machine, this.#disk, config.node);
    return capacity.allocatable;
  }
}
