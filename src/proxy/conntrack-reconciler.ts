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
): readonly ConntrackEntry[] {
  const targets = udpTargets(servicePorts, node);
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

  constructor(options: ConntrackReconcilerOptions) {
    this.#options = options;
  }

  /** To be called after the rules are in, and again where it rejects: an entry deleted before would be made anew from the old rules. */
  async reconcile(
    servicePorts: Iterable<ServicePort>,
    node: ConntrackNode,
    signal: AbortSignal,
  ): Promise<ConntrackReport> {
    const { family, tools, clock, log, onReconciled } = this.#options;
    const startedMs = clock.monotonic();
    const entries = await listUdpEntries(tools, family, signal);
    const stale = staleEntries(entries, servicePorts, node);
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
    return report;
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

/** Serving endpoints by `address:port` of the frontends; frontends that share an address and port share the set. */
function udpTargets(
  servicePorts: Iterable<ServicePort>,
  node: ConntrackNode,
): ReadonlyMap<string, ReadonlySet<string>> {
  const targets = new Map<string, Set<string>>();
  const nodeAddresses =
    node.nodePortAddresses.kind === 'list' ? node.nodePortAddresses.addresses : node.localAddresses;
  for (const servicePort of servicePorts) {
    if (servicePort.protocol !== 'UDP') continue;
    const serving = servingEndpoints(servicePort);
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
