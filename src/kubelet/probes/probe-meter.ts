import { Counter, Histogram, Registry } from 'prom-client';
import type { ProbeType } from '../ports/probes.ts';
import type { ProbeOutcome } from './outcome.ts';

/** What a series is about. */
export interface ProbeLabels {
  readonly uid: string;
  readonly pod: string;
  readonly namespace: string;
  readonly container: string;
  readonly type: ProbeType;
}

const titles = { liveness: 'Liveness', readiness: 'Readiness', startup: 'Startup' } as const;
const words = {
  success: 'successful',
  warning: 'successful',
  failure: 'failed',
  error: 'unknown',
} as const;
const podLabels = ['probe_type', 'container', 'pod', 'namespace'] as const;

/** The metrics of /metrics/probes, in a registry of their own. */
export class ProbeMeter {
  readonly registry = new Registry();
  readonly #total = new Counter({
    name: 'prober_probe_total',
    help: 'Probes of containers, by what came of them',
    labelNames: ['result', ...podLabels, 'pod_uid'],
    registers: [this.registry],
  });
  readonly #duration = new Histogram({
    name: 'prober_probe_duration_seconds',
    help: 'Time of a probe in seconds',
    labelNames: [...podLabels],
    registers: [this.registry],
  });
  /** The series of each pod: they go with it. */
  readonly #pods = new Map<string, Map<string, ProbeLabels>>();

  observe(labels: ProbeLabels, outcome: ProbeOutcome, seconds: number): void {
    const series = seriesOf(labels);
    this.#total.inc({ result: words[outcome.kind], ...series, pod_uid: labels.uid });
    if (outcome.kind !== 'failure') this.#duration.observe(series, seconds);
    const pod = this.#pods.get(labels.uid) ?? new Map<string, ProbeLabels>();
    this.#pods.set(labels.uid, pod.set(`${labels.type}/${labels.container}`, labels));
  }

  forget(uid: string): void {
    for (const labels of this.#pods.get(uid)?.values() ?? []) {
      const series = seriesOf(labels);
      this.#duration.remove(series);
      for (const result of new Set(Object.values(words))) {
        this.#total.remove({ result, ...series, pod_uid: uid });
      }
    }
    this.#pods.delete(uid);
  }
}

function seriesOf({
  type,
  container,
  pod,
  namespace,
}: ProbeLabels): Record<(typeof podLabels)[number], string> {
  return { probe_type: titles[type], container, pod, namespace };
}
