import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.ts';
import type { NodePortAddresses } from '../graph/node-context.ts';
import { deleteUdpFlows, listUdpEntries } from '../host/conntrack.ts';
import type { ConntrackEntry, FlowPath } from '../host/conntrack.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { hostPort } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import type { ServicePort } from '../services/service-port.ts';
import type { Log } from '../telemetry/log.ts';

/** Where the node's own addresses are, to tell its node ports from those of other nodes. */
export interface ConntrackNode {
  readonly localAddresses: readonly Address[];
  readonly nodePortAddresses: NodePortAddresses;
}

/** What one reconciling did. */
export interface ConntrackReport {
  /** UDP entries looked at. */
  readonly entries: number;
  readonly deleted: number;
  readonly durationMs: number;
}

export interface ConntrackReconcilerOptions {
  readonly family: Family;
  /** Who answers for a service port, as `ip:port`; left out: its serving endpoints. */
  readonly answering?: (servicePort: ServicePort) => readonly string[];
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly log: Log;
  /** Told after every reconciling, for metrics. */
  readonly onReconciled?: (report: ConntrackReport) => void;
}

/**
 * The entries that lead to what no longer serves: their original destination is an address of a UDP
 * service port on this node, and their answers are expected from none of its serving endpoints. Entries
 * made before there was any endpoint are among them. Service ports without a serving endpoint are left alone, as is
 * whatever another node answers for. TCP and SCTP clients notice by themselves.
 */
export function staleEntries(
  entries: readonly ConntrackEntry[],
  servicePorts: Iterable<ServicePort>,
  node: ConntrackNode,
  answering: ConntrackReconcilerOptions['answering'] = servingEndpoints,
): readonly ConntrackEntry[] {
  return staleAmong(entries, udpTargets(servicePorts, node, answering));
}

function staleAmong(
  entries: readonly ConntrackEntry[],
  targets: Targets,
): readonly ConntrackEntry[] {
  return entries.filter(({ original, reply }) => {
    const serving = targets.get(hostPort(original.destination, original.destinationPort));
    return serving !== undefined && !serving.has(hostPort(reply.source, reply.sourcePort));
  });
}

/**
 * Deletes stale UDP entries, path by path (destination and the endpoint that no longer serves): a client
 * that is well served keeps its entry.
 */
export class ConntrackReconciler {
  readonly #options: ConntrackReconcilerOptions;
  /** What the table was last made to agree with. */
  #reconciled: Targets | undefined;
  #forgotten = 0;

  constructor(options: ConntrackReconcilerOptions) {
    this.#options = options;
  }

  /** Entries may have been made by other rules meanwhile. */
  forget(): void {
    this.#reconciled = undefined;
    this.#forgotten++;
  }

  /**
   * To be called after the rules are in, and again where it rejects: an entry deleted before would be made anew from the old
   * rules. Service ports are gone through more than once.
   */
  async reconcile(
    servicePorts: Iterable<ServicePort>,
    node: ConntrackNode,
    signal: AbortSignal,
  ): Promise<ConntrackReport> {
    const { family, answering, tools, clock, log, onReconciled } = this.#options;
    const startedMs = clock.monotonic();
    if (answering !== undefined && this.#isReconciled(udpTargets(servicePorts, node, answering)))
      return { entries: 0, deleted: 0, durationMs: 0 };
    const forgotten = this.#forgotten;
    const entries = await listUdpEntries(tools, family, signal);
    const targets = udpTargets(servicePorts, node, answering);
    const stale = staleAmong(entries, targets);
    let deleted = 0;
    const failures: unknown[] = [];
    for (const path of pathsOf(stale)) {
      signal.throwIfAborted();
      try {
        deleted += await deleteUdpFlows(tools, family, path, signal);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error); // one path that cannot be deleted must not keep the others
      }
    }
    if (stale.length > 0) {
      log.info(
        { family, deleted, stale: stale.length },
        'deleted stale UDP connection tracking entries',
      );
    }
    const report = { entries: entries.length, deleted, durationMs: clock.monotonic() - startedMs };
    onReconciled?.(report);
    if (failures.length > 0) throw failures[0];
    if (forgotten === this.#forgotten) this.#reconciled = targets;
    return report;
  }

  /** Where others answer than the endpoints, most changes of these change nothing here, and no tool is run. */
  #isReconciled(targets: Targets): boolean {
    return this.#reconciled !== undefined && isDeepStrictEqual(this.#reconciled, targets);
  }
}

/** The paths of some entries, each once. */
function pathsOf(entries: readonly ConntrackEntry[]): Iterable<FlowPath> {
  const paths = new Map<string, FlowPath>();
  for (const { original, reply } of entries) {
    const { destination, destinationPort } = original;
    const key = `${hostPort(destination, destinationPort)} ${hostPort(reply.source, reply.sourcePort)}`;
    paths.set(key, {
      destination,
      destinationPort,
      replySource: reply.source,
      replySourcePort: reply.sourcePort,
    });
  }
  return paths.values();
}

/** Who answers by `address:port` of the frontends; frontends that share an address and port share the set. */
type Targets = ReadonlyMap<string, ReadonlySet<string>>;

function udpTargets(
  servicePorts: Iterable<ServicePort>,
  node: ConntrackNode,
  answering: ConntrackReconcilerOptions['answering'] = servingEndpoints,
): Targets {
  const targets = new Map<string, Set<string>>();
  const nodeAddresses =
    node.nodePortAddresses.kind === 'list' ? node.nodePortAddresses.addresses : node.localAddresses;
  for (const servicePort of servicePorts) {
    if (servicePort.protocol !== 'UDP') continue;
    const serving = answering(servicePort);
    if (serving.length === 0) continue;
    for (const frontend of frontends(servicePort, nodeAddresses)) {
      const set = targets.get(frontend) ?? new Set<string>();
      for (const endpoint of serving) set.add(endpoint);
      targets.set(frontend, set);
    }
  }
  return targets;
}

/** Whatever policy and topology choose: an entry to a serving endpoint is a working one. */
function servingEndpoints({ endpoints }: ServicePort): readonly string[] {
  const skipped = endpoints.skipped.map(({ endpoint }) => endpoint);
  return [...(endpoints.cluster ?? []), ...(endpoints.local ?? []), ...skipped]
    .filter((endpoint) => endpoint.serving)
    .map((endpoint) => hostPort(endpoint.address, endpoint.port));
}

function frontends(servicePort: ServicePort, nodeAddresses: readonly Address[]): readonly string[] {
  const { clusterIP, externalIPs, loadBalancerIPs, port, nodePort } = servicePort;
  const vips = [clusterIP, ...externalIPs, ...loadBalancerIPs].map((address) =>
    hostPort(address, port),
  );
  if (nodePort === 0) return vips;
  return [...vips, ...nodeAddresses.map((address) => hostPort(address, nodePort))];
}
