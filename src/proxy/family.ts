import type { Backend } from '../backends/backend.ts';
import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { GraphCompiler } from '../graph/compile.ts';
import type { NodePortAddresses } from '../graph/node-context.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { ServiceCatalog } from '../services/service-catalog.ts';
import type { Log } from '../telemetry/log.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import { SyncRecord } from './admin/sync-record.ts';
import type { FamilyBackend } from './open-mode.ts';
import { ConntrackReconciler } from './conntrack-reconciler.ts';
import type { ProxyHealth } from './health.ts';
import type { NodeState } from './node-state.ts';
import type { Told } from './notices.ts';
import { Pipeline } from './pipeline.ts';
import type { OpenEvents } from './service-events.ts';
import { healthTargets } from './service-health.ts';
import type { ServiceHealth } from './service-health.ts';

export interface FamilyOptions {
  /** The configuration in force; its periods may change. */
  readonly current: { readonly config: Pick<ProxyConfig, 'syncPeriodMs' | 'minSyncPeriodMs'> };
  readonly nodeName: string;
  readonly state: NodeState;
  readonly health: ProxyHealth;
  readonly metrics: ProxyMetrics;
  /** The servers of healthCheckNodePorts. */
  readonly serviceHealth: ServiceHealth;
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: Pick<OpenEvents, 'services' | 'node'> | undefined;
  /** What was told of the family before, and whether the one who told it works still. */
  readonly told: Told;
  readonly takesOver: boolean;
  /** Called once, when rules were written for the first time. */
  readonly onFirstRules: () => void;
}

/** All that works for one IP family. */
export interface FamilyParts {
  readonly family: Family;
  readonly pipeline: Pipeline;
  readonly record: SyncRecord;
  readonly desired: Backend['desired'];
  /** Works until `signal` aborts; resolves when nothing of it changes the kernel any more. */
  run(signal: AbortSignal): Promise<void>;
}

/** Puts one family together: catalog, compiler, backend, and what follows the rules. */
export function openFamily(
  { family, backend, answering, untracked }: FamilyBackend,
  options: FamilyOptions,
): FamilyParts {
  const { current, nodeName, state, health, metrics, clock, log, events, onFirstRules } = options;
  const { serviceHealth, told, takesOver } = options;
  const conntrack = untracked ? undefined : openConntrack(family, answering, options);
  const record = new SyncRecord(clock);
  const pipeline = new Pipeline({
    family,
    catalog: new ServiceCatalog({ family, nodeName, zone: state.node?.zone }),
    compiler: new GraphCompiler(),
    backend,
    node: async (signal) => state.context(family, signal),
    health,
    metrics,
    clock,
    log,
    events: events?.services,
    nodeEvents: events?.node,
    told,
    takesOver,
    record,
    get syncPeriodMs() {
      return current.config.syncPeriodMs;
    },
    get minSyncPeriodMs() {
      return current.config.minSyncPeriodMs;
    },
    onFirstRules,
    serveHealth: async (servicePorts, graph) =>
      serviceHealth.sync(
        healthTargets(servicePorts.values(), graph),
        healthAddresses(family, graph.node.nodePortAddresses),
      ),
    forgetConntrack: () => conntrack?.forget(),
    reconcileConntrack: async (servicePorts, { node }, signal) => {
      const localAddresses = state.localAddresses(family);
      const all = { [Symbol.iterator]: () => servicePorts.values() };
      await conntrack?.reconcile(all, { ...node, localAddresses }, signal);
    },
  });
  const run = async (signal: AbortSignal): Promise<void> => {
    await pipeline.run(signal);
    await backend.ended?.();
  };
  return { family, pipeline, run, record, desired: () => backend.desired() };
}

function openConntrack(
  family: Family,
  answering: FamilyBackend['answering'],
  { metrics, tools, clock, log }: FamilyOptions,
): ConntrackReconciler {
  const label = { ip_family: familyLabel(family) };
  return new ConntrackReconciler({
    family,
    ...(answering && { answering }),
    tools,
    clock,
    log,
    onReconciled: ({ deleted, durationMs }) => {
      metrics.conntrackDuration.observe(label, durationMs / 1000);
      metrics.conntrackDeleted.inc(label, deleted);
    },
  });
}

/** Where health checks are answered: on the family's wildcard, or on the node-port addresses. */
function healthAddresses(family: Family, addresses: NodePortAddresses): readonly string[] {
  if (addresses.kind === 'list') return addresses.addresses;
  return [family === 'ipv4' ? '0.0.0.0' : '::'];
}
