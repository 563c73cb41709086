import { NodeDns } from '../environment/node-dns.ts';
import { keepIptablesChains } from '../housekeeping/iptables-chains.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { MirrorKeeper } from '../dispatch/mirror-keeper.ts';
import type { NodeCertificates } from './node-certificates.ts';
import type { NodeParts } from './node-parts.ts';
import { nodeShutdown } from './open-shutdown.ts';
import { NodeRelief } from './node-relief.ts';
import { NodeUpkeep } from './node-upkeep.ts';
import { PodAdmission } from './pod-admission.ts';
import { PodDispatch } from '../dispatch/pod-dispatch.ts';
import { PodObjects } from './pod-objects.ts';
import { servePodAdmin } from './pod-admin.ts';
import { openServer } from './pod-server.ts';
import { PodSources } from './pod-sources.ts';
import { podStats } from './pod-stats.ts';
import type { PodStats } from './pod-stats.ts';
import { PodTable } from '../dispatch/pod-table.ts';
import { probeHandlers } from '../probes/handlers.ts';
import { ProbeMeter } from '../probes/probe-meter.ts';
import { PodProbes } from '../probes/probes.ts';
import { runtimeSettings } from './runtime-settings.ts';
import { onceRuntimeAnswers } from './runtime-up.ts';
import { LogFolders } from '../runtime/log-folders.ts';
import type { RuntimeSettings } from '../runtime/settings.ts';
import { RuntimeView } from '../runtime/view.ts';
import type { KubeletHealth } from '../server/kubelet-routes.ts';
import type { KubeletServer } from '../server/server.ts';
import { selectsNode } from '../sources/node-affinity.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import type { NodeShutdown } from '../shutdown/node-shutdown.ts';
import { standaloneText } from './standalone-text.ts';
import { StatusWriter } from '../status/status-writer.ts';
import { surroundings } from './surroundings.ts';
import { PodDirectories } from '../volumes/pod-directories.ts';
import { PodVolumes } from '../volumes/volumes.ts';
import { PodWorkers, podOperations } from '../worker/pod-workers.ts';

/** `1.37`: what clients of ours say that they are like. */
const likeVersion = '1.37';

/** What only a runtime that answers can say. */
interface Found {
  readonly settings: RuntimeSettings;
  readonly admission: PodAdmission;
}

/** All that runs pods: sources, workers, and what these work with. */
export class PodParts {
  readonly #base: KubeletBase;
  readonly #node: NodeParts;
  readonly #table = new PodTable();
  readonly #meter = new ProbeMeter();
  readonly #objects: PodObjects;
  readonly #status: StatusWriter;
  readonly #view: RuntimeView;
  readonly #probes: PodProbes;
  readonly #volumes: PodVolumes;
  readonly #sources: PodSources;
  readonly #mirrors: MirrorKeeper | undefined;
  readonly #dns: NodeDns;
  readonly #logFolders: LogFolders;
  #server: KubeletServer | undefined;
  #workers: PodWorkers | undefined;
  #dispatch: PodDispatch | undefined;
  #upkeep: NodeUpkeep | undefined;
  #relief: NodeRelief | undefined;
  #shutdown: NodeShutdown | undefined;
  #stats: PodStats | undefined;
  #waitsFor: string | undefined = 'the container runtime is asked';
  #beatMs: number;

  private constructor(base: KubeletBase, node: NodeParts) {
    this.#base = base;
    this.#node = node;
    const { api, clock, log, random, events, cri, config, nodeName, nodeIps, rootDir, mounts } =
      base;
    const meter = base.metrics.pods;
    this.#beatMs = clock.monotonic();
    this.#logFolders = new LogFolders({ rootDir, podLogsDir: config.podLogsDir });
    this.#dns = new NodeDns({ config: config.dns, nodeIps, log });
    this.#objects = new PodObjects({
      base,
      wake: (uid) => this.#workers?.wake(uid),
      wakeAll: () => this.#workers?.wakeAll(),
      isNode: (selector) => selectsNode(selector, node.matched),
    });
    this.#status = new StatusWriter({
      api: api?.objects('v1', 'pods'),
      mirror: (pod) => this.#table.mirrorOf(pod),
      isListed: (pod) => this.#table.has(pod),
      onContinued: (uid) => this.#workers?.wake(uid),
      clock,
      log,
      random,
      meter,
    });
    this.#view = new RuntimeView({
      cri,
      clock,
      log,
      owner: nodeName,
      meter,
      adopt: (uid) => this.#table.get(uid) !== undefined,
      changed: (uid) => {
        this.#workers?.wake(uid);
        this.#upkeep?.changed(uid);
      },
    });
    this.#probes = new PodProbes({
      clock,
      random,
      events,
      log,
      meter: this.#meter,
      startedAt: { monotonicMs: clock.monotonic(), dateMs: clock.now() },
      onChange: (uid) => this.#workers?.wake(uid),
      execute: probeHandlers({
        execSync: async (request, options) => cri.runtime.execSync(request, options),
        userAgent: `kube-probe/${likeVersion}`,
      }),
    });
    this.#volumes = new PodVolumes({
      directories: new PodDirectories(rootDir),
      sources: {
        objects: this.#objects.references,
        tokens: this.#objects.tokens,
        allocatable: (resource) => node.allocatable(resource),
      },
      mounts,
      tokens: this.#objects.tokens,
      claims: this.#objects.claims,
      events,
      clock,
      random,
      log,
    });
    this.#sources = new PodSources(base, node, (change) => this.#dispatch?.apply(change));
    this.#mirrors =
      api &&
      new MirrorKeeper({
        clock,
        log,
        table: this.#table,
        isReady: () => this.#sources.allReady,
        api: api.objects('v1', 'pods'),
        owner: () => node.owner,
        isAlive: (uid) => this.#workers?.isAlive(uid) ?? false,
      });
  }

  /** Listens from now on, and says that it waits; {@link run} has to follow. */
  static async open(
    base: KubeletBase,
    node: NodeParts,
    certificates: NodeCertificates,
  ): Promise<PodParts> {
    const parts = new PodParts(base, node);
    parts.#server = await parts.#listen(certificates);
    return parts;
  }

  /** When the runtime's pods were listed last. */
  get relistedAtMs(): number | undefined {
    return this.#view.relistedAtMs;
  }

  /** Waits for the runtime and runs pods until `signal`; then lets them be. */
  async run(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const asked = this.#answerAdmin(AbortSignal.any([signal, over.signal]));
    try {
      const waits = (problem: string): void => {
        this.#waitsFor = problem;
      };
      const find = async (): Promise<Found> => this.#find(signal);
      const found = await onceRuntimeAnswers(this.#base, find, waits, signal);
      if (found === undefined) return;
      this.#build(found);
      this.#waitsFor = undefined;
      this.#saySo();
      await this.#runAll(signal);
    } finally {
      over.abort();
      await asked;
      await this.#server?.stop();
      this.#stats?.volumes.stop();
      await this.#workers?.stop();
      await this.#probes.close();
      await this.#objects.close();
    }
  }

  #saySo(): void {
    const { log, nodeName, nodeIps, api, adminSocket } = this.#base;
    log.info({ node: nodeName, ips: nodeIps }, 'started');
    if (api === undefined)
      log.info({}, standaloneText(nodeName, this.#sources.report(), adminSocket !== ''));
  }

  async #listen(certificates: NodeCertificates): Promise<KubeletServer> {
    return openServer({
      base: this.#base,
      certificates,
      table: this.#table,
      view: this.#view,
      workers: () => this.#workers?.all() ?? [],
      status: this.#status,
      probeMetrics: this.#meter.registry,
      stats: () => this.#stats?.stats,
      health: () => this.#health,
    });
  }

  /** Also while it starts: somebody will want to know why it takes so long. */
  async #answerAdmin(signal: AbortSignal): Promise<void> {
    await servePodAdmin(
      {
        base: this.#base,
        table: this.#table,
        view: this.#view,
        workers: () => this.#workers?.all() ?? [],
        status: this.#status,
        sources: () => this.#sources.report(),
        health: () => this.#health,
      },
      signal,
    );
  }

  get #health(): KubeletHealth {
    const { config, clock } = this.#base;
    return {
      isAlive: clock.monotonic() - this.#beatMs < Math.max(2 * config.syncMs, 300_000),
      waitsFor: this.#waitsFor,
    };
  }

  async #find(signal: AbortSignal): Promise<Found> {
    const admission = await PodAdmission.open(this.#base, this.#node, signal);
    await this.#dns.read();
    const settings = await runtimeSettings(this.#base);
    await this.#view.relist();
    return { settings, admission };
  }

  #build({ settings, admission }: Found): void {
    const { config, clock, log, random, events, metrics } = this.#base;
    const around = surroundings({
      base: this.#base,
      node: this.#node,
      settings,
      admission,
      objects: this.#objects,
      dns: this.#dns,
      logFolders: this.#logFolders,
      volumes: this.#volumes,
      view: this.#view,
      status: this.#status,
      probes: this.#probes,
      reconcileMirror: () => this.#mirrors?.ring(),
      likeVersion,
    });
    const workers = new PodWorkers({
      operations: podOperations(around),
      clock,
      log,
      events,
      random,
      meter: metrics.pods,
      syncFrequencyMs: config.syncMs,
      isStatic: isStaticPod,
      inRuntime: () => this.#view.pods,
      restarting: (pod) => this.#status.beginsAnew(pod),
    });
    this.#workers = workers;
    this.#stats = podStats(this.#base, settings, this.#view);
    this.#dispatch = new PodDispatch({
      table: this.#table,
      workers,
      events,
      log,
      admit: (pod, others) => admission.judge(pod, others),
      isUp: (uid) => this.#view.isUp(uid),
      meter: metrics.pods,
      refreshNode: async () => this.#node.refresh(),
      seen: (pod) => this.#status.seen(pod),
      mirrorsChanged: () => this.#mirrors?.ring(),
      isReady: () => this.#sources.allReady,
    });
    this.#upkeep = new NodeUpkeep({
      base: this.#base,
      view: this.#view,
      workers,
      table: this.#table,
      volumes: this.#volumes,
      cgroups: around.cgroups,
      logFolders: this.#logFolders,
      status: this.#status,
      isReady: () => this.#sources.allReady,
    });
    this.#relief = new NodeRelief({
      base: this.#base,
      node: this.#node,
      workers,
      upkeep: this.#upkeep,
      usage: this.#stats.stats,
      isReady: () => this.#sources.allReady,
    });
    this.#shutdown = nodeShutdown(this.#base, this.#node, workers, this.#status, this.#table);
  }

  async #runAll(signal: AbortSignal): Promise<void> {
    const { config, tools, clock, log } = this.#base;
    const running = [
      this.#view.run(signal),
      this.#sources.run(signal),
      this.#status.run(signal),
      this.#objects.run(signal),
      this.#mirrors?.run(signal),
      this.#upkeep?.run(signal),
      this.#relief?.run(signal),
      this.#shutdown?.run(signal),
      this.#beat(signal),
      config.iptablesChains ? keepIptablesChains({ tools, clock, log }, signal) : undefined,
    ].filter((each) => each !== undefined);
    try {
      await Promise.all(running);
    } finally {
      await Promise.allSettled(running);
    }
  }

  /** Shows that the loop goes round. */
  async #beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#beatMs = this.#base.clock.monotonic();
      await this.#dns.read();
      await this.#base.clock.sleep(1000, signal);
    }
  }
}
