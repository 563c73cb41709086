import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError } from '../error.ts';
import type { NodeRecordFile } from '../host/node-record.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { InformerHandler } from '../informer/source.ts';
import { aborted } from '../informer/wakeup.ts';
import { familyLabel, familyOf } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { endpointSliceKind } from '../services/endpoint-slice-kind.ts';
import { anyNodeKind } from '../services/node-kind.ts';
import type { ServiceCidrObject } from '../services/objects.ts';
import { serviceCidrKind } from '../services/service-cidr-kind.ts';
import { serviceKind } from '../services/service-kind.ts';
import type { Log } from '../telemetry/log.ts';
import type { FeatureState } from '../telemetry/build-info.ts';
import type { Verbosity } from '../telemetry/profiling.ts';
import { AskedAgent } from './admin/asked-agent.ts';
import { usualAdminSocket } from './admin/socket-path.ts';
import { openNode } from './agent-node.ts';
import { openFamily } from './family.ts';
import type { FamilyParts } from './family.ts';
import type { ProxyHealth } from './health.ts';
import { openBackends, prepareNode } from './backends.ts';
import type { OpenMode, Reservations } from './backends.ts';
import { clusterReservations } from './cluster-reservations.ts';
import { endOrphans } from './end-orphans.ts';
import { hasRules } from './has-rules.ts';
import { adjustOomScore, tuneConntrack } from './kernel-settings.ts';
import { LastingParts } from './lasting-parts.ts';
import { openMeters } from './meters.ts';
import type { NodeState } from './node-state.ts';
import { NodeWatch } from './node-watch.ts';
import { ObjectInformers } from './object-informers.ts';
import { ownNode } from './own-node.ts';
import { relayRows } from './relay-rows.ts';
import { relayTraffic } from './relay-traffic.ts';
import { loadRuleModules } from './rule-modules.ts';
import { openEvents } from './service-events.ts';
import type { OpenEvents } from './service-events.ts';
import { openServiceTraffic } from './service-traffic.ts';
import type { ServiceTraffic } from './service-traffic.ts';
import { tellSettings, tellsOfSettings } from './settings-notices.ts';
import type { ServedFamilies } from './settings-notices.ts';
import { openSources } from './sources.ts';
import { watchStandstills } from './standstill.ts';
import type { ObjectSources } from './sources.ts';

/** What the agent needs of the machine and the process. */
export interface AgentOptions {
  readonly config: ProxyConfig;
  /** The machine's host name. */
  readonly hostname: string;
  readonly version: string;
  readonly tools: ToolRunner;
  readonly sysctls: Sysctls;
  /** What is changed besides rules. */
  readonly record: Pick<NodeRecordFile, 'noteFirewall' | 'read'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** For what an operator asked to see, beside the log. */
  readonly print: (text: string) => void;
  /** Called once, when the first rules of all families are written: what the start needed is garbage now. */
  readonly onFirstRules: (mode: ProxyConfig['mode']) => void;
  /** The KubeProxyConfiguration in effect, for /configz. */
  readonly effectiveConfig?: () => object;
  /** The feature gates, for metrics. */
  readonly features?: readonly FeatureState[];
  /** `name=value` of each flag, for /flagz. */
  readonly flagLines?: readonly string[];
  /** How much is logged, for /debug/flags/v. */
  readonly verbosity?: Verbosity;
}

/**
 * Runs the proxy until `signal` aborts: rules follow the objects of the configured source. Stopping
 * waits for the running sync and leaves the rules in place. Rejects where the start cannot succeed.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const lasting = new LastingParts(options);
  const agent = new Agent(options, lasting);
  const stop = new AbortController();
  const onStop = (): void => {
    stop.abort();
  };
  signal.addEventListener('abort', onStop, { once: true });
  if (signal.aborted) stop.abort();
  try {
    await agent.run(stop);
  } finally {
    // Whatever ended the run, everything it started ends too.
    stop.abort();
    signal.removeEventListener('abort', onStop);
    await Promise.all([agent.close(), lasting.close()]);
  }
}

/** How an agent starts. */
export interface AgentStart {
  /**
   * Where another one runs in this process: ends the work of that one. Called once, when all that can keep this one from its
   * own is behind it; until it resolves this one writes no rule and answers nobody.
   */
  readonly takeOver?: () => Promise<void>;
}

/** How an agent ends; left out: with its process. */
export interface AgentEnd {
  /** How long connections that it carries itself may last. */
  readonly withinMs: number;
  /** Cuts that short. */
  readonly hurry: AbortSignal;
}

/** One configuration at work. What can change meanwhile it takes up; for all else there is a new one. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #lasting: LastingParts;
  /** What it was started with, but for what it took up since. */
  readonly #current: { config: ProxyConfig };
  readonly #nodeName: string;
  readonly #health: ProxyHealth;
  readonly #state: NodeState;
  readonly #nodeWatch: NodeWatch;
  readonly #asked: AskedAgent;
  readonly #traffic: ServiceTraffic | undefined;
  readonly #running: Promise<void>[] = [];
  #mode: OpenMode | undefined;
  #families: readonly FamilyParts[] = [];
  #sources: ObjectSources | undefined;
  #events: OpenEvents | undefined;
  #served: ServedFamilies | undefined;
  /** The process answers for this agent. */
  #isShown = false;

  constructor(given: AgentOptions, lasting: LastingParts) {
    const options = { ...given, tools: openMeters(given, lasting.metrics) };
    lasting.metrics.features(given.features ?? []);
    this.#options = options;
    this.#lasting = lasting;
    const { config, clock, log } = options;
    const current = { config };
    this.#current = current;
    this.#traffic = openServiceTraffic(config.traffic, options);
    const fromCluster = config.source.kind === 'kubernetes';
    this.#nodeName = config.hostnameOverride || options.hostname.trim().toLowerCase();
    const { health, state } = openNode(options, current, this.#nodeName);
    this.#health = health;
    this.#state = state;
    this.#asked = new AskedAgent({
      ...options,
      get config() {
        return current.config;
      },
      configuration: () => lasting.metrics.config.state,
      nodeName: this.#nodeName,
      health: this.#health,
      state: this.#state,
    });
    this.#nodeWatch = new NodeWatch({
      nodeName: this.#nodeName,
      state: this.#state,
      health: this.#health,
      clock,
      log,
      needsPodCidrs: config.detectLocal.mode === 'NodeCIDR',
      expected: fromCluster,
      onChange: (zone) => {
        for (const { pipeline } of this.#families) pipeline.nodeChanged(zone);
      },
    });
  }

  /** Works until `stop` aborts. Rejects where the start cannot succeed, or what runs beside it fails. */
  async run(stop: AbortController, { takeOver }: AgentStart = {}): Promise<void> {
    const { config, log } = this.#options;
    const { signal } = stop;
    // First what can be wrong without touching anything: credentials and the like.
    const sources = await this.#openSources();
    await this.#prepare(signal);
    if (config.initOnly) return;
    // A tool of this very process is none that a killed agent has left.
    if (this.#hasRules && takeOver === undefined) await endOrphans(this.#options);
    this.#answerAdmin(takeOver);
    await this.#openFamilies(sources, signal);
    if (takeOver === undefined) await this.#serve();
    const onStandstill = (ms: number): void => this.#health.stoodStill(ms);
    this.#running.push(watchStandstills(this.#options, onStandstill, signal));
    const informers = this.#inform(sources, signal);
    await this.#state.refresh(signal);
    await this.#untilStopped(this.#nodeWatch.ready(signal), stop);
    if (signal.aborted) return;
    this.#checkPrimaryFamily();
    if (takeOver !== undefined) {
      await this.#untilStopped(Promise.race([informers.listed, aborted(signal)]), stop);
      if (signal.aborted) return;
      await this.#serve(takeOver);
    }
    log.info(this.#summary(), 'started');
    this.#events?.node.starting(config.mode);
    for (const family of this.#families) this.#running.push(family.run(signal));
    await this.#untilStopped(Promise.all(this.#running), stop);
  }

  /** What of the kernel and of this process comes before rules; with --init-only, all that needs privileges. */
  async #prepare(signal: AbortSignal): Promise<void> {
    const { config, log, sysctls } = this.#options;
    if (this.#hasRules) {
      await adjustOomScore(config.oomScoreAdj, log);
      if (config.initOnly) await loadRuleModules(this.#options, signal);
      await tuneConntrack(config.conntrack, sysctls, log);
    }
    if (!config.initOnly) return;
    await prepareNode({ ...this.#options, instances: this.#lasting.instances }, signal);
    log.info({}, 'privileged settings are made; ending, as --init-only asks');
  }

  /** Takes up what of a configuration can change while it runs; the rest of it has to be as it was. */
  reconfigure(config: ProxyConfig): void {
    const before = this.#current.config;
    this.#current.config = config;
    if (this.#served !== undefined && tellsOfSettings(before, config)) {
      tellSettings(config, this.#served, this.#options.log);
    }
    if (this.#isShown) this.#show();
    for (const { pipeline } of this.#families) pipeline.settingsChanged();
  }

  /** Whether the kernel is told anything: if not, no privilege is needed, and nothing of the machine is touched. */
  get #hasRules(): boolean {
    return hasRules(this.#options.config);
  }

  /** A pipeline for each family that this machine can do. */
  async #openFamilies(sources: ObjectSources, signal: AbortSignal): Promise<void> {
    const { metrics } = this.#lasting;
    this.#mode = await openBackends(
      {
        ...this.#options,
        instances: this.#lasting.instances,
        reserved: this.#reservations(sources, signal),
        traffic: this.#traffic,
        onDraining: (family, draining) => {
          this.#asked.draining(family, draining);
          metrics.draining(familyLabel(family), draining);
        },
      },
      signal,
    );
    const { families, relay } = this.#mode;
    if (relay) this.#traffic?.watch(relayTraffic(relayRows(relay), this.#traffic));
    this.#events = this.#openEvents(sources, signal);
    let unwritten = families.length;
    const onFirstRules = (): void => {
      if (--unwritten === 0) this.#options.onFirstRules(this.#options.config.mode);
    };
    this.#families = families.map((each) =>
      openFamily(each, {
        ...this.#options,
        onFirstRules,
        events: this.#events,
        nodeName: this.#nodeName,
        state: this.#state,
        health: this.#health,
        metrics,
        serviceHealth: this.#lasting.serviceHealth(each.family),
        current: this.#current,
      }),
    );
    this.#asked.opened(this.#families, this.#mode.relay);
  }

  /** Also while it starts, which may take long, and somebody will want to know why; unless another one works meanwhile. */
  #answerAdmin(takeOver: AgentStart['takeOver']): void {
    if (takeOver !== undefined) return;
    const { config, env } = this.#options;
    this.#lasting.admin.answerFor(this.#asked);
    this.#lasting.admin.open(config.adminSocket ?? usualAdminSocket(env) ?? '');
  }

  /** Only ipvs mode takes addresses. */
  #reservations(sources: ObjectSources, signal: AbortSignal): Reservations | undefined {
    if (this.#options.config.mode !== 'ipvs') return undefined;
    const reserved = clusterReservations(sources, {
      ...this.#options,
      nodeName: this.#nodeName,
      onChange: () => {
        this.#requestAll();
      },
    });
    this.#running.push(reserved.run(signal));
    return reserved;
  }

  #openEvents(sources: ObjectSources, signal: AbortSignal): OpenEvents | undefined {
    const onEnd = (end: 'written' | 'dropped'): void => this.#lasting.metrics.agent.eventEnded(end);
    const settings = { ...this.#options, nodeName: this.#nodeName, onEnd };
    const opened = openEvents(sources.events, settings, signal);
    if (opened !== undefined) this.#running.push(opened.running);
    return opened;
  }

  /** Frees the ports of what carries connections itself; those that are open go on. */
  async leave(): Promise<void> {
    await this.#mode?.leave();
  }

  /** Waits for all that runs, then frees ports and connections. */
  async close(end?: AgentEnd): Promise<void> {
    await Promise.allSettled(this.#running);
    const { withinMs, hurry } = end ?? { withinMs: this.#current.config.userspace.shutdownMs };
    const closing = this.#mode?.close(withinMs, hurry);
    await this.#sources?.close();
    await closing;
    if (this.#running.length === 0 || end !== undefined) return;
    this.#options.log.info({}, this.#hasRules ? 'stopped; the rules stay in place' : 'stopped');
  }

  /** Waits for `work`, but no longer than until something that runs beside it fails. */
  async #untilStopped(work: Promise<unknown>, stop: AbortController): Promise<void> {
    const failure = new Promise<never>((_, reject) => {
      for (const each of this.#running) each.catch(reject);
    });
    try {
      await Promise.race([work, failure]);
    } catch (error) {
      stop.abort();
      throw error;
    }
  }

  /** The servers of the process answer for this agent, at the addresses it was given; `takeOver`: once these are had. */
  async #serve(takeOver?: () => Promise<void>): Promise<void> {
    const { config } = this.#current;
    if (takeOver === undefined) this.#show();
    try {
      await this.#lasting.servers.listenAt(config);
    } catch (error) {
      await this.#events?.flush(); // else nobody but the log would say why
      throw error;
    }
    if (takeOver === undefined) return;
    await takeOver();
    await this.#lasting.keepOnly(this.#families.map(({ family }) => family));
    this.#show();
  }

  #show(): void {
    this.#isShown = true;
    this.#lasting.admin.answerFor(this.#asked);
    this.#lasting.show({
      ...this.#options,
      config: this.#current.config,
      health: this.#health,
      events: this.#events,
      pipelines: this.#families.map(({ pipeline }) => pipeline),
      relay: this.#mode?.relay,
      traffic: this.#traffic,
    });
  }

  async #openSources(): Promise<ObjectSources> {
    const { config } = this.#options;
    const kinds = [serviceKind, endpointSliceKind, anyNodeKind, serviceCidrKind];
    const { restClient } = this.#lasting.metrics;
    const onRequest = restClient.asked.bind(restClient);
    this.#sources = await openSources({
      ...this.#options,
      config: config.source,
      kinds,
      onRequest,
    });
    return this.#sources;
  }

  #inform(sources: ObjectSources, signal: AbortSignal): ObjectInformers {
    if (this.#traffic) this.#running.push(this.#traffic.run(signal));
    const informers = new ObjectInformers({
      ...this.#options,
      sources,
      ownNode: ownNode(sources, this.#nodeName),
      nodeHandler: this.#nodeWatch.handler,
      serviceCidrHandler: this.#serviceCidrHandler(),
      serviceHandlers: [this.#events?.services, this.#traffic].flatMap(
        (each) => each?.handler ?? [],
      ),
      consumers: this.#families.map(({ pipeline }) => pipeline),
    });
    this.#asked.informed(sources, informers);
    this.#running.push(informers.run(signal));
    return informers;
  }

  #serviceCidrHandler(): InformerHandler<ServiceCidrObject> {
    const changed = (object: ServiceCidrObject): void => {
      this.#state.setServiceCidr(object);
      this.#requestAll();
    };
    return {
      added: changed,
      updated: (_previous, object) => {
        changed(object);
      },
      removed: (object) => {
        this.#state.removeServiceCidr(object);
        this.#requestAll();
      },
    };
  }

  #requestAll(): void {
    for (const { pipeline } of this.#families) pipeline.request();
  }

  /** The family of the node's first address has to work; the other one may be missing. */
  #checkPrimaryFamily(): void {
    if (!this.#hasRules) return; // what is served there is no address of the node
    const [first] = this.#state.nodeIPs();
    const primary: Family = first === undefined ? 'ipv4' : familyOf(first);
    if (first === undefined) {
      this.#options.log.warn({ node: this.#nodeName }, 'no address of this node is known');
    }
    const families = this.#families.map(({ family }) => family);
    this.#served = { families, primary };
    tellSettings(this.#current.config, this.#served, this.#options.log);
    if (families.includes(primary)) return;
    throw new SwitchyardError(
      'missing',
      `${familyLabel(primary)}, the family of the node's address ${first ?? ''}, cannot be used here`,
      { hint: `install the iptables tools of ${familyLabel(primary)}, or set --bind-address` },
    );
  }

  #summary(): object {
    const { config } = this.#options;
    return {
      node: this.#nodeName,
      mode: config.mode,
      families: this.#families.map(({ family }) => familyLabel(family)),
      nodeIPs: this.#state.nodeIPs(),
      detectLocalMode: config.detectLocal.mode,
    };
  }
}
