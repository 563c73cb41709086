import type { PodEntry, PodsDocument, SourceEntry } from './pods-document.ts';

/** What the kubelet answers to the question how it is. Fields are added, never taken away; times are ISO 8601. */
export interface KubeletStatus {
  readonly version: string;
  readonly pid: number;
  readonly now: string;
  readonly started: string;
  readonly state: 'healthy' | 'starting' | 'unhealthy';
  /** Why it is not healthy. */
  readonly reasons: readonly string[];
  readonly node: { readonly name: string; readonly addresses: readonly string[] };
  readonly runtime: { readonly endpoint: string; readonly version: string | null };
  readonly sources: readonly SourceEntry[];
  readonly pods: {
    readonly total: number;
    /** Those of which all containers are ready. */
    readonly ready: number;
    /** How many have each status. */
    readonly byStatus: Readonly<Record<string, number>>;
  };
}

/** What of it does not come from the pods. */
export interface KubeletFacts extends Pick<
  KubeletStatus,
  'version' | 'pid' | 'started' | 'runtime'
> {
  readonly addresses: readonly string[];
  /** Whether the main loop goes round. */
  readonly isAlive: boolean;
  /** Of the runtime. */
  readonly problems: readonly string[];
}

export function kubeletStatus(facts: KubeletFacts, document: PodsDocument): KubeletStatus {
  const { version, pid, started, runtime, addresses } = facts;
  const { now, node, waitsFor, pods, sources } = document;
  const reasons = [
    ...(waitsFor === null ? facts.problems : [waitsFor]),
    ...(facts.isAlive ? [] : ['its main loop is stuck']),
    ...sources.filter(isInTrouble).map(({ place, refused }) => {
      const trouble = refused.find(({ what }) => what === place);
      return `${place} ${trouble?.reason ?? 'has not said yet which pods there are'}`;
    }),
  ];
  const healthy = reasons.length === 0 ? 'healthy' : 'unhealthy';
  return {
    version,
    pid,
    now,
    started,
    state: waitsFor === null ? healthy : 'starting',
    reasons,
    node: { name: node, addresses },
    runtime,
    sources,
    pods: {
      total: pods.length,
      ready: pods.filter(isReady).length,
      byStatus: countOf(pods.map(({ status }) => status)),
    },
  };
}

function isInTrouble({ complete, stale }: SourceEntry): boolean {
  return !complete || stale;
}

function isReady({ ready, total, status }: PodEntry): boolean {
  return ready === total && status === 'Running';
}

function countOf(words: readonly string[]): Record<string, number> {
  const groups = Object.groupBy(words.toSorted(), (word) => word);
  return Object.fromEntries(Object.entries(groups).map(([word, all = []]) => [word, all.length]));
}
