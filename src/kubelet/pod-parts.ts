import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Informer } from '../informer/informer.ts';
import { ContainerEnvironment } from './environment/build-environment.ts';
import { NodeDns } from './environment/node-dns.ts';
import { linkedServiceKind } from './environment/service-variables.ts';
import type { LinkedService } from './environment/service-variables.ts';
import { keepIptablesChains } from './housekeeping/iptables-chains.ts';
import type { KubeletBase } from './kubelet.ts';
import { MirrorKeeper } from './mirror-keeper.ts';
import type { NodeParts } from './node-parts.ts';
import { NodeUpkeep } from './node-upkeep.ts';
import type { Pod } from './pod/pod.ts';
import { fewestFeatures } from './pod/unsupported.ts';
import type { RuntimeFeatures } from './pod/unsupported.ts';
import { PodDispatch } from './pod-dispatch.ts';
import { openServer } from './pod-server.ts';
import { PodSources } from './pod-sources.ts';
import { PodTable } from './pod-table.ts';
import { probeHandlers } from './probes/handlers.ts';
import { ProbeMeter } from './probes/probe-meter.ts';
import { PodProbes } from './probes/probes.ts';
import { podCgroups, runtimeSettings } from './runtime-settings.ts';
import { ContainerFiles } from './runtime/container-files.ts';
import { Images } from './runtime/images.ts';
import { LogFolders } from './runtime/log-folders.ts';
import { pullSecrets } from './runtime/pull-secrets.ts';
import { RuntimeView } from './runtime/view.ts';
import { rejection } from './sources/admission.ts';
import type { AdmissionNode } from './sources/admission.ts';
import { isStaticPod } from './sources/sourced-pod.ts';
import { StatusWriter } from './status/status-writer.ts';
import { PodDirectories } from './volumes/pod-directories.ts';
import { WatchedReferences } from './volumes/referenced-objects.ts';
import { tokenRequester } from './volumes/token-request.ts';
import { Tokens } from './volumes/tokens.ts';
import { PodVolumes } from './volumes/volumes.ts';
import { BackOff } from './worker/back-off.ts';
import type { PodSurroundings } from './worker/pod-surroundings.ts';
import { PodWorkers, podOperations } from './worker/pod-workers.ts';

/** `1.37`: what clients of ours say that they are like. */
const likeVersion = '1.37';

/** All that runs pods: sources, workers, and what these work with. */
export class PodParts {
  readonly #base: KubeletBase;
  readonly #node: NodeParts;
  readonly #table = new PodTable();
  readonly #meter = new ProbeMeter();
  readonly #services: Informer<LinkedService> | undefined;
  readonly #references: WatchedReferences | undefined;
  readonly #tokens: Tokens | undefined;
  readonly #status: StatusWriter;
  readonly #view: RuntimeView;
  readonly #probes: PodProbes;
  readonly #volumes: PodVolumes;
  readonly #sources: PodSources;
  readonly #mirrors: MirrorKeeper | undefined;
  readonly #appArmor: boolean;
  readonly #dns: NodeDns;
  readonly #logFolders: LogFolders;
  #workers: PodWorkers | undefined;
  #dispatch: PodDispatch | undefined;
  #upkeep: NodeUpkeep | undefined;
  #features: RuntimeFeatures & Pick<AdmissionNode, 'hasGroupsPolicy'> = {
    ...fewestFeatures,
    hasGroupsPolicy: false,
  };
  #beatMs = 0;

  private constructor(base: KubeletBase, node: NodeParts, appArmor: boolean) {
    this.#base = base;
    this.#node = node;
    this.#appArmor = appArmor;
    this.#logFolders = new LogFolders({
      rootDir: base.rootDir,
      podLogsDir: base.config.podLogsDir,
    });
    this.#dns = new NodeDns({ config: base.config.dns, nodeIps: base.nodeIps, log: base.log });
    const { api, clock, log, random, events, cri, nodeName, rootDir, mounts } = base;
    const meter = base.metrics.pods;
    if (api !== undefined) {
      this.#services = new Informer({
        source: api.source(linkedServiceKind),
        log,
        name: 'services',
        handlers: [{ synced: () => this.#workers?.wakeAll() }],
      });
      const onChange = (uids: readonly string[]): void => {
        for (const uid of uids) this.#workers?.wake(uid);
      };
      this.#references = new WatchedReferences({
        client: api.sharing,
        clock,
        random,
        log,
        onChange,
      });
      this.#tokens = new Tokens({ request: tokenRequester(api.client, clock), clock, random, log });
    }
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
        objects: this.#references,
        tokens: this.#tokens,
        allocatable: (resource) => node.allocatable(resource),
      },
      mounts,
      tokens: this.#tokens,
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

  /** Throws where the runtime does not answer. */
  static async open(base: KubeletBase, node: NodeParts, signal: AbortSignal): Promise<PodParts> {
    const parts = new PodParts(base, node, await hasAppArmor());
    await parts.#start(signal);
    await parts.#view.relist();
    return parts;
  }

  /** When the runtime's pods were listed last. */
  get relistedAtMs(): number | undefined {
    return this.#view.relistedAtMs;
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { config, cri, clock, log, random, events } = this.#base;
    await this.#readFeatures(signal);
    await this.#dns.read();
    const settings = await runtimeSettings(this.#base);
    const { runtime } = config;
    const meter = this.#base.metrics.pods;
    const around: PodSurroundings = {
      runtime: cri.runtime,
      clock,
      events,
      log,
      meter,
      settings,
      userAgent: `kube-lifecycle/${likeVersion}`,
      images: new Images({
        images: cri.images,
        events,
        clock,
        maxPulls: runtime.serializePulls ? 1 : runtime.maxParallelPulls || undefined,
        rate: { qps: runtime.pullQps, burst: runtime.pullBurst },
        meter,
        ...(this.#references !== undefined && {
          findAuth: pullSecrets({ objects: this.#references, events }),
        }),
      }),
      files: new ContainerFiles(settings, this.#logFolders, randomHex),
      volumes: this.#volumes,
      environment: new ContainerEnvironment({
        objects: this.#references,
        services: () => this.#linkedServices(),
        allocatable: (resource) => this.#node.allocatable(resource),
      }),
      recursiveReadOnly: this.#features.recursiveReadOnlyMounts,
      view: this.#view,
      status: this.#status,
      probes: this.#probes,
      referenced: this.#references,
      cgroups: podCgroups(settings, clock, log),
      backOff: new BackOff(clock, { longestMs: runtime.maxRestartWaitMs }),
      dns: () => this.#dns.sources,
      hostIPs: () => this.#base.nodeIps,
      networkProblem: () => this.#base.health.networkProblem,
      features: this.#features,
      reconcileMirror: () => this.#mirrors?.ring(),
    };
    const workers = new PodWorkers({
      operations: podOperations(around),
      clock,
      log,
      events,
      random,
      meter,
      syncFrequencyMs: config.syncMs,
      isStatic: isStaticPod,
      inRuntime: () => this.#view.pods,
    });
    this.#workers = workers;
    this.#dispatch = new PodDispatch({
      table: this.#table,
      workers,
      events,
      log,
      admit: (pod, others) => this.#admit(pod, others),
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
  }

  /** Runs pods until `signal`; then lets them be. */
  async run(signal: AbortSignal): Promise<void> {
    const { config, tools, clock, log } = this.#base;
    const server = await openServer({
      base: this.#base,
      table: this.#table,
      view: this.#view,
      workers: () => this.#workers?.all() ?? [],
      status: this.#status,
      probeMetrics: this.#meter.registry,
      isAlive: () => clock.monotonic() - this.#beatMs < Math.max(2 * config.syncMs, 300_000),
    });
    const running: (Promise<void> | undefined)[] = [
      this.#view.run(signal),
      this.#sources.run(signal),
      this.#status.run(signal),
      this.#services?.start(signal),
      this.#mirrors?.run(signal),
      this.#upkeep?.run(signal),
      this.#beat(signal),
      config.iptablesChains ? keepIptablesChains({ tools, clock, log }, signal) : undefined,
    ];
    try {
      await Promise.all(running.filter((each) => each !== undefined));
    } finally {
      await Promise.allSettled(running.filter((each) => each !== undefined));
      await server.stop();
      await this.#workers?.stop();
      await this.#probes.close();
      await this.#references?.close();
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

  #admit(pod: Pod, others: readonly Pod[]): ReturnType<typeof rejection> {
    const features = {
      hasAppArmor: this.#appArmor,
      hasGroupsPolicy: this.#features.hasGroupsPolicy,
    };
    const found = rejection({ pod, others, node: this.#node.admission(features) });
    if (found !== undefined) this.#base.metrics.pods.rejected(found.reason);
    return found;
  }

  #linkedServices(): Iterable<LinkedService> | undefined {
    if (this.#services === undefined) return [];
    return this.#services.synced ? this.#services.store.values() : undefined;
  }

  async #readFeatures(signal: AbortSignal): Promise<void> {
    const { runtimeHandlers, features } = await this.#base.cri.runtime.status({}, { signal });
    const usual = runtimeHandlers.find(({ name }) => name === '');
    this.#features = {
      recursiveReadOnlyMounts: usual?.features?.recursiveReadOnlyMounts ?? false,
      hasGroupsPolicy: features?.supplementalGroupsPolicy ?? false,
    };
  }
}

/** Whether the kernel keeps AppArmor profiles. */
async function hasAppArmor(): Promise<boolean> {
  const text = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => '');
  return text.startsWith('Y');
}

/** For names of files that nobody guesses. */
function randomHex(): string {
  return randomBytes(4).toString('hex');
}
