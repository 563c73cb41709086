import type { PodSourceName } from '../sources/sourced-pod.ts';

/** What the kubelet answers to the question for its pods. Fields are added, never taken away; times are ISO 8601. */
export interface PodsDocument {
  readonly now: string;
  readonly node: string;
  /** Why no pods are run yet; null: they are. */
  readonly waitsFor: string | null;
  /** By namespace and name. */
  readonly pods: readonly PodEntry[];
  readonly sources: readonly SourceEntry[];
}

export interface SourceEntry {
  readonly name: PodSourceName;
  /** A path, a URL, an API server. */
  readonly place: string;
  /** Whether it has said once which pods there are. */
  readonly complete: boolean;
  /** Whether its pods are what it had before, for it cannot be read now. */
  readonly stale: boolean;
  /** What of it is not run, and why; what is wrong with the source itself has its place as `what`. */
  readonly refused: readonly { readonly what: string; readonly reason: string }[];
}

export interface PodEntry {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** null: an earlier agent ran it, and no source has it any more. */
  readonly source: PodSourceName | null;
  /** One word for what it does: `Running`, `CrashLoopBackOff`, `Init:0/1`, `Terminating`. */
  readonly status: string;
  /** Why it is not as it should be; '' where nothing more is known. */
  readonly message: string;
  /** Containers that are ready, and all that are meant to be. */
  readonly ready: number;
  readonly total: number;
  readonly restarts: number;
  readonly lastRestart: string | null;
  /** When it was made, or first seen. */
  readonly created: string | null;
  readonly ips: readonly string[];
  readonly containers: readonly ContainerEntry[];
}

export interface ContainerEntry {
  readonly name: string;
  readonly kind: 'init' | 'sidecar' | 'container' | 'ephemeral';
  readonly image: string;
  /** As the runtime knows it; '' where there is none yet. */
  readonly id: string;
  readonly state: 'waiting' | 'running' | 'terminated';
  readonly reason: string;
  readonly message: string;
  /** Of one that has ended. */
  readonly exitCode: number | null;
  readonly ready: boolean;
  readonly restarts: number;
}
