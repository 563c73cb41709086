import type { KubeletBase } from '../base/kubelet-base.ts';
import { keepIptablesChains } from '../housekeeping/iptables-chains.ts';
import type { KubeletHealth } from '../server/kubelet-routes.ts';
import type { KubeletServer } from '../server/server.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';
import { askRuntime } from './ask-runtime.ts';
import type { Found } from './ask-runtime.ts';
import type { NodeCertificates } from './node-certificates.ts';
import type { NodeParts } from './node-parts.ts';
import { servePodAdmin } from './pod-admin.ts';
import { openServer } from './pod-server.ts';
import { onceRuntimeAnswers } from './runtime-up.ts';
import { standaloneText } from './standalone-text.ts';
import { standingParts } from './standing-parts.ts';
import type { StandingParts } from './standing-parts.ts';
import { workingParts } from './working-parts.ts';
import type { WorkingParts } from './working-parts.ts';

/** All that runs pods: sources, workers, and what these work with. */
export class PodParts {
  readonly #base: KubeletBase;
  readonly #node: NodeParts;
  readonly #standing: StandingParts;
  /** undefined: the runtime has not answered yet. */
  #working: WorkingParts | undefined;
  #server: KubeletServer | undefined;
  #waitsFor: string | undefined = 'the container runtime is asked';
  #beatMs: number;

  private constructor(base: KubeletBase, node: NodeParts) {
    this.#base = base;
    this.#node = node;
    this.#beatMs = base.clock.monotonic();
    this.#standing = standingParts(base, node, {
      wake: (uid) => this.#working?.workers.wake(uid),
      wakeAll: () => this.#working?.workers.wakeAll(),
      changed: (uid) => {
        this.#working?.workers.wake(uid);
        this.#working?.upkeep.changed(uid);
      },
      apply: (change) => this.#working?.dispatch.apply(change),
      isAlive: (uid) => this.#working?.workers.isAlive(uid) ?? false,
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
    return this.#standing.view.relistedAtMs;
  }

  /** Waits for the runtime and runs pods until `signal`; then lets them be. */
  async run(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const asked = this.#answerAdmin(AbortSignal.any([signal, over.signal]));
    try {
      const waits = (problem: string): void => {
        this.#waitsFor = problem;
      };
      const ask = async (): Promise<Found> =>
        askRuntime(this.#base, this.#node, this.#standing, signal);
      const found = await onceRuntimeAnswers(this.#base, ask, waits, signal);
      if (found === undefined) return;
      this.#working = workingParts(this.#base, this.#node, this.#standing, found);
      this.#waitsFor = undefined;
      this.#saySo();
      await this.#runAll(this.#working, signal);
    } finally {
      over.abort();
      await asked;
      await this.#server?.stop();
      this.#working?.stats.stop();
      await this.#working?.workers.stop();
      await this.#standing.probes.close();
      await this.#standing.objects.close();
    }
  }

  #saySo(): void {
    const { log, nodeName, nodeIps, api, adminSocket } = this.#base;
    log.info({ node: nodeName, ips: nodeIps }, 'started');
    if (api !== undefined) return;
    const sources = this.#standing.sources.report();
    log.info({}, standaloneText(nodeName, sources, adminSocket !== ''));
  }

  async #listen(certificates: NodeCertificates): Promise<KubeletServer> {
    const { table, view, status, volumes, probeMeter } = this.#standing;
    return openServer({
      base: this.#base,
      certificates,
      table,
      view,
      workers: () => this.#workers,
      status,
      volumes,
      probeMetrics: probeMeter.registry,
      stats: () => this.#working?.stats.stats,
      health: () => this.#health,
    });
  }

  /** Also while it starts: somebody will want to know why it takes so long. */
  async #answerAdmin(signal: AbortSignal): Promise<void> {
    const { table, view, status, sources } = this.#standing;
    await servePodAdmin(
      {
        base: this.#base,
        table,
        view,
        workers: () => this.#workers,
        status,
        sources: () => sources.report(),
        health: () => this.#health,
      },
      signal,
    );
  }

  get #workers(): ReturnType<PodWorkers['all']> {
    return this.#working?.workers.all() ?? [];
  }

  get #health(): KubeletHealth {
    const { config, clock } = this.#base;
    return {
      isAlive: clock.monotonic() - this.#beatMs < Math.max(2 * config.syncMs, 300_000),
      waitsFor: this.#waitsFor,
    };
  }

  async #runAll({ upkeep, relief, shutdown }: WorkingParts, signal: AbortSignal): Promise<void> {
    const { config, tools, clock, log } = this.#base;
    const { view, sources, status, objects, mirrors } = this.#standing;
    const running = [
      view.run(signal),
      sources.run(signal),
      status.run(signal),
      objects.run(signal),
      mirrors?.run(signal),
      upkeep.run(signal),
      relief.run(signal),
      shutdown.run(signal),
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
      await this.#standing.dns.read();
      await this.#base.clock.sleep(1000, signal);
    }
  }
}
