import type { ProxyConfig } from '../config/proxy-config.ts';
import { errorText } from '../error.ts';
import { usualAdminSocket } from '../host/admin-socket-path.ts';
import { aborted } from '../informer/wakeup.ts';
import { familyLabel } from '../ip/address.ts';
import { endpointSliceKind } from '../services/endpoint-slice-kind.ts';
import { anyNodeKind } from '../services/node-kind.ts';
import { serviceCidrKind } from '../services/service-cidr-kind.ts';
import { serviceKind } from '../services/service-kind.ts';
import { AskedAgent } from './admin/asked-agent.ts';
import { openNode } from './agent-node.ts';
import type { AgentEnd, AgentOptions, AgentStart } from './agent-options.ts';
import { openFamily } from './family.ts';
import type { FamilyParts } from './family.ts';
import type { ProxyHealth } from './health.ts';
import { openBackends } from './backends.ts';
import type { OpenMode } from './open-mode.ts';
import { clusterReservations } from './cluster-reservations.ts';
import type { ClusterReservations } from './cluster-reservations.ts';
import { endOrphans } from './end-orphans.ts';
import { hasRules } from './has-rules.ts';
import type { LastingParts } from './lasting-parts.ts';
import { openMeters } from './meters.ts';
import type { NodeState } from './node-state.ts';
import { NodeWatch } from './node-watch.ts';
import { ObjectInformers } from './object-informers.ts';
import { ownNode } from './own-node.ts';
import { prepareMachine } from './prepare-machine.ts';
import { refuseWithoutPrimary, servedFamilies } from './primary-family.ts';
import { relayRows } from './relay-rows.ts';
import { relayTraffic } from './relay-traffic.ts';
import { serviceCidrHandler } from './service-cidr-handler.ts';
import { openEvents } from './service-events.ts';
import type { OpenEvents } from './service-events.ts';
import { openServiceTraffic } from './service-traffic.ts';
import type { ServiceTraffic } from './service-traffic.ts';
import { tellSettings, tellsOfSettings } from './settings-notices.ts';
import type { ServedFamilies } from './settings-notices.ts';
import { openSources } from './sources.ts';
import { watchStandstills } from './standstill.ts';
import { TriedSysctls } from './tried-sysctls.ts';
import type { ObjectSources } from './sources.ts';

/** One configuration at work. What can change meanwhile it takes up; for all else there is a new one. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #lasting: LastingParts;
  readonly #sysctls: TriedSysctls;
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
  #reserved: ClusterReservations | undefined;
  /** The process answers for this agent. */
  #isShown = false;

  constructor(given: AgentOptions, lasting: LastingParts) {
    this.#sysctls = new TriedSysctls(given.sysctls);
    const tools = openMeters(given, lasting.metrics);
    const options = { ...given, tools, sysctls: this.#sysctls };
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

  /**
   * Works until `stop` aborts. Rejects where the start cannot succeed, or what runs beside it fails. What it set before it could
   * take over is put back where it does not.
   */
  async run(stop: AbortController, { takeOver }: AgentStart = {}): Promise<void> {
    if (takeOver === undefined) {
      this.#sysctls.keep();
      return this.#work(stop);
    }
    try {
      await this.#work(stop, async () => {
        this.#lasting.awaitNext();
        await takeOver();
        this.#sysctls.keep();
      });
    } finally {
      await this.#putBack();
    }
  }

  async #putBack(): Promise<void> {
    try {
      await this.#sysctls.putBack();
    } catch (error) {
      const { log } = this.#options;
      log.error({ err: error }, `a kernel setting is not as it was before: ${errorText(error)}`);
    }
  }

  async #work(stop: AbortController, takeOver?: () => Promise<void>): Promise<void> {
    const { config, log } = this.#options;
    const { signal } = stop;
    // First what can be wrong without touching anything: credentials and the like.
    const sources = await this.#openSources();
    await prepareMachine({ ...this.#options, instances: this.#lasting.instances }, signal);
    if (config.initOnly) return;
    // A tool of this very process is none that a killed agent has left.
    if (this.#hasRules && takeOver === undefined) await endOrphans(this.#options);
    this.#answerAdmin(takeOver);
    await this.#openFamilies(sources, takeOver !== undefined, signal);
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
    // Not before: what passes meanwhile is counted by the one that works.
    if (this.#traffic) this.#running.push(this.#traffic.run(signal));
    for (const family of this.#families) this.#running.push(family.run(signal));
    await this.#untilStopped(Promise.all(this.#running), stop);
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
  async #openFamilies(
    sources: ObjectSources,
    takesOver: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { metrics } = this.#lasting;
    this.#mode = await openBackends(
      {
        ...this.#options,
        instances: this.#lasting.instances,
        withoutNftables: this.#lasting.withoutNftables,
        reserved: this.#openReservations(sources, signal),
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
      if (--unwritten === 0) this.#options.onFirstRules();
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
        told: this.#lasting.told(each.family),
        takesOver,
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
    this.#lasting.admin.open(config.adminSocket ?? usualAdminSocket('admin', env) ?? '');
  }

  /** Only ipvs mode takes addresses. */
  #openReservations(sources: ObjectSources, signal: AbortSignal): ClusterReservations | undefined {
    if (this.#options.config.mode !== 'ipvs') return undefined;
    const reserved = clusterReservations(sources, {
      ...this.#options,
      nodeName: this.#nodeName,
      onChange: () => {
        this.#requestAll();
      },
    });
    this.#running.push(reserved.run(signal));
    this.#reserved = reserved;
    return reserved;
  }

  #openEvents(sources: ObjectSources, signal: AbortSignal): OpenEvents | undefined {
    const onEnd = (end: 'written' | 'dropped'): void => this.#lasting.metrics.agent.eventEnded(end);
    const told = this.#lasting.toldAnnotations;
    const settings = { ...this.#options, nodeName: this.#nodeName, told, onEnd };
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
    const { asked: onRequest } = this.#lasting.metrics.restClient;
    this.#sources = await openSources({
      ...this.#options,
      config: config.source,
      kinds,
      onRequest,
    });
    return this.#sources;
  }

  #inform(sources: ObjectSources, signal: AbortSignal): ObjectInformers {
    const informers = new ObjectInformers({
      ...this.#options,
      sources,
      ownNode: ownNode(sources, this.#nodeName),
      nodeHandler: this.#nodeWatch.handler,
      serviceCidrHandler: serviceCidrHandler(this.#state, () => this.#requestAll()),
      serviceHandlers: [this.#events?.services, this.#traffic].flatMap(
        (each) => each?.handler ?? [],
      ),
      sliceHandlers: this.#reserved ? [this.#reserved.slices] : [],
      consumers: this.#families.map(({ pipeline }) => pipeline),
    });
    this.#asked.informed(sources, informers);
    this.#running.push(informers.run(signal));
    return informers;
  }

  #requestAll(): void {
    for (const { pipeline } of this.#families) pipeline.request();
  }

  /** The family of the node's first address has to work; the other one may be missing. */
  #checkPrimaryFamily(): void {
    if (!this.#hasRules) return; // what is served there is no address of the node
    const { log } = this.#options;
    const families = this.#families.map(({ family }) => family);
    const node = { name: this.#nodeName, addresses: this.#state.nodeIPs() };
    this.#served = servedFamilies(families, node, log);
    tellSettings(this.#current.config, this.#served, log);
    refuseWithoutPrimary(this.#served, node);
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
