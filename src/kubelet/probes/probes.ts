import type { Log } from '../../telemetry/log.ts';
import { errorText } from '../../error.ts';
import { isSidecar } from '../pod/container.ts';
import type { Container } from '../pod/container.ts';
import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { ProbeResult, Probes, ProbeType } from '../ports/probes.ts';
import type { ProbeMeter } from './probe-meter.ts';
import { ProbeWorker } from './probe-worker.ts';
import type { ProbeSurroundings } from './probe-worker.ts';
import { ProbeResultTable } from './results.ts';

export interface PodProbesOptions extends Pick<
  ProbeSurroundings,
  'clock' | 'random' | 'startedAt' | 'events' | 'onChange' | 'execute'
> {
  readonly log: Log;
  readonly meter: ProbeMeter;
}

/** The workers of one pod, by `liveness/web`. */
interface Probed {
  readonly workers: Map<string, ProbeWorker>;
  isTerminating: boolean;
}

/** All probes of this node: a worker for each of a container's probes. */
export class PodProbes implements Probes {
  readonly #results = new ProbeResultTable();
  readonly #pods = new Map<string, Probed>();
  readonly #options: PodProbesOptions;
  readonly #around: ProbeSurroundings;
  readonly #working = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: PodProbesOptions) {
    const { meter } = options;
    this.#options = options;
    this.#around = {
      ...options,
      results: this.#results,
      onOutcome: (worker, outcome, seconds) => {
        const { uid, container, type, metadata } = worker;
        const { name: pod, namespace } = metadata;
        meter.observe({ uid, pod, namespace, container: container.name, type }, outcome, seconds);
      },
    };
  }

  result(uid: string, containerId: string, type: ProbeType): ProbeResult | undefined {
    return this.#results.result(uid, containerId, type);
  }

  ensure(pod: Pod, status: PodStatus): void {
    if (this.#isClosed) return;
    const { uid } = pod.metadata;
    const probed = this.#pods.get(uid) ?? { workers: new Map(), isTerminating: false };
    this.#pods.set(uid, probed);
    for (const worker of probed.workers.values()) worker.update({ pod, status });
    // Before there are new ones: those begin with a probe.
    this.#triggerUnready(probed, status);
    const ended = status.phase === 'Failed' || status.phase === 'Succeeded';
    if (!ended) {
      for (const [container, type] of probesOf(pod))
        this.#ensure(probed, pod, status, container, type);
    }
  }

  terminating(uid: string): void {
    const probed = this.#pods.get(uid);
    if (probed === undefined) return;
    probed.isTerminating = true;
    for (const [key, worker] of probed.workers) {
      if (worker.type === 'readiness') continue;
      worker.stop();
      probed.workers.delete(key);
    }
  }

  remove(uid: string): void {
    for (const worker of this.#pods.get(uid)?.workers.values() ?? []) worker.stop();
    this.#pods.delete(uid);
    this.#results.forget(uid);
    this.#options.meter.forget(uid);
  }

  /** Ends all workers, and waits for them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { workers } of this.#pods.values()) for (const each of workers.values()) each.stop();
    await Promise.all(this.#working);
  }

  #ensure(
    probed: Probed,
    pod: Pod,
    status: PodStatus,
    container: Container,
    type: ProbeType,
  ): void {
    const key = `${type}/${container.name}`;
    const probe = container[`${type}Probe`];
    const isEnding = probed.isTerminating || pod.metadata.deletionTimestamp !== undefined;
    if (probe === undefined || probed.workers.has(key)) return;
    if (isEnding && type !== 'readiness') return;
    const worker = new ProbeWorker({ pod, status }, container, type, probe, this.#around);
    probed.workers.set(key, worker);
    const work = this.#work(worker).finally(() => {
      if (probed.workers.get(key) === worker) probed.workers.delete(key);
      this.#working.delete(work);
    });
    this.#working.add(work);
  }

  async #work(worker: ProbeWorker): Promise<void> {
    try {
      await worker.work();
    } catch (error) {
      const { uid, container, type } = worker;
      this.#options.log.error(
        { uid, container: container.name, type },
        `probe worker ended: ${errorText(error)}`,
      );
    }
  }

  /** Readiness is not put off by a whole period once a container runs. */
  #triggerUnready({ workers }: Probed, status: PodStatus): void {
    const all = [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])];
    for (const { name, containerID, state, ready } of all) {
      if (state.running === undefined || containerID === undefined || ready) continue;
      workers.get(`readiness/${name}`)?.trigger();
    }
  }
}

function* probesOf({ spec }: Pod): Generator<[Container, ProbeType]> {
  for (const container of [...spec.initContainers.filter(isSidecar), ...spec.containers]) {
    for (const type of ['startup', 'readiness', 'liveness'] as const) {
      if (container[`${type}Probe`] !== undefined) yield [container, type];
    }
  }
}
