import type { Clock } from '../clock.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import type { Relay } from '../relay/relay.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Log } from '../telemetry/log.ts';
import { ProxyMetrics } from '../telemetry/metrics.ts';
import { AdminEndpoint } from './admin/endpoint.ts';
import { answersOf } from './agent-servers.ts';
import type { AgentAnswersOptions } from './agent-servers.ts';
import type { ProxyHealth } from './health.ts';
import { HeldInstances } from './held-instances.ts';
import { measureKernel } from './kernel-measures.ts';
import type { Pipeline } from './pipeline.ts';
import { ProcessServers } from './process-servers.ts';
import { Told } from './notices.ts';
import { RelayRows } from './relay-rows.ts';
import type { OpenEvents, ToldAnnotations } from './service-events.ts';
import { ServiceHealth } from './service-health.ts';
import { serviceStates } from './service-state-rows.ts';
import type { ServiceTraffic } from './service-traffic.ts';

export interface LastingPartsOptions {
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What the process shows of the agent that works now. */
export interface AgentView extends Omit<AgentAnswersOptions, 'metrics'> {
  readonly config: ProxyConfig;
  readonly health: ProxyHealth;
  readonly events: OpenEvents | undefined;
  readonly pipelines: readonly Pick<Pipeline, 'programming'>[];
  readonly relay: Pick<Relay, 'stats'> | undefined;
  readonly traffic: ServiceTraffic | undefined;
  readonly tools: ToolRunner;
}

/**
 * What one agent hands to the next one in the same process: counters go on, and what listens for others does not let
 * go of its port.
 */
export class LastingParts {
  readonly metrics: ProxyMetrics;
  readonly servers: ProcessServers;
  readonly admin: AdminEndpoint;
  readonly instances = new HeldInstances();
  /** The families in which nothing of kube-proxy's nftables mode is left. */
  readonly withoutNftables = new Set<Family>();
  readonly toldAnnotations: ToldAnnotations = new Map();
  readonly #told = new Map<Family, Told>();
  #relayRows = new RelayRows();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #serviceHealth = new Map<Family, ServiceHealth>();
  #shown: AgentView | undefined;

  constructor({ version, clock, log }: LastingPartsOptions) {
    this.#clock = clock;
    this.#log = log;
    this.metrics = new ProxyMetrics({ version });
    this.metrics.collectProcess();
    this.servers = new ProcessServers({ clock, log });
    this.admin = new AdminEndpoint({ clock, log });
  }

  /** What operators were told of a family. */
  told(family: Family): Told {
    const known = this.#told.get(family) ?? new Told();
    this.#told.set(family, known);
    return known;
  }

  /** The servers of healthCheckNodePorts of a family. */
  serviceHealth(family: Family): ServiceHealth {
    const known = this.#serviceHealth.get(family);
    if (known !== undefined) return known;
    const made = new ServiceHealth({
      proxyHealthy: () => this.#shown?.health.report().healthy ?? true,
      clock: this.#clock,
      log: this.#log,
      onFailed: (failed) => this.#shown?.events?.services.healthPortFailed(failed),
      onChanged: (ports) => this.metrics.agent.healthPorts(familyLabel(family), ports),
    });
    this.#serviceHealth.set(family, made);
    return made;
  }

  /** Metrics and servers speak of this agent from now on; what another mode had is forgotten. */
  show(view: AgentView): void {
    const { config, health, pipelines, relay, traffic, clock } = view;
    const { metrics } = this;
    const before = this.#shown;
    if (before !== undefined && before.config.mode !== config.mode) {
      metrics.forgetMode();
      this.#relayRows = new RelayRows();
    }
    this.#shown = view;
    metrics.agent.mode(config.mode);
    metrics.collectServices(
      serviceStates(pipelines, config.metrics.serviceStates, () => clock.now()),
    );
    metrics.agent.collectHealth(() => health.byFamily());
    metrics.slis.collect(() => health.checks());
    if (relay) {
      this.#relayRows.follow(relay);
      metrics.collectRelay(this.#relayRows.rows);
    }
    if (traffic !== before?.traffic) traffic?.goOnFrom(before?.traffic);
    metrics.collectTraffic(traffic);
    measureKernel(metrics, view);
    this.servers.answerWith(answersOf({ ...view, metrics }));
  }

  /** The agent that is shown is about to end, and another one takes over. */
  awaitNext(): void {
    this.#relayRows.awaitNext();
  }

  /** The agent that is shown has written its first rules: what it does not have is no more. */
  settled(): void {
    this.#relayRows.settled();
  }

  /** What other families listened at is closed. */
  async keepOnly(families: readonly Family[]): Promise<void> {
    for (const [family, servers] of this.#serviceHealth) {
      if (families.includes(family)) continue;
      this.#serviceHealth.delete(family);
      await servers.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.servers.close(), this.admin.close(), this.keepOnly([])]);
  }
}
