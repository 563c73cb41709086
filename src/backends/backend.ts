import type { GraphDelta, RuleGraph } from '../graph/rule-graph.ts';
import type { DesiredState } from './desired.ts';
import type { SyncReport } from './sync-report.ts';

export type Mode = 'iptables' | 'ipvs' | 'nftables' | 'userspace';

/**
 * The contract of a mode for one IP family, as the proxy process sees it. Inside, a backend is
 * `lower` (graph → desired state, pure), `diff` (applied → transaction, pure), `apply` (one tool
 * run) and `read` (kernel → state). The suite in test/kernel/contract.ts holds for every backend.
 */
export interface Backend {
  readonly mode: Mode;
  /**
   * Makes the kernel agree with the graph. Rejects where nothing could be written (the caller
   * retries, and the next sync is then full); resolves with `unprogrammed` where some services
   * had to be left out.
   */
  sync(graph: RuleGraph, delta: GraphDelta, signal: AbortSignal): Promise<SyncReport>;
  /** Resolves with a reason when the kernel's rules are no longer ours, else undefined. */
  audit(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Rules of others that leave nothing for ours behind them, as the last audit that found ours in place saw them. They may be meant
   * so, and are left where they are. Left out: the mode has none that anything could stand before.
   */
  inFront?(): readonly string[];
  /** Forces the next sync to be full. */
  invalidate(): void;
  /** What the last sync was to make of the kernel, also where it failed; undefined: nothing, or there was none yet. */
  desired(): DesiredState | undefined;
  /**
   * Resolves when what it has at work beside syncs and audits has ended, as it does with the agent's work: until then it may
   * still run a tool. Left out: it has nothing.
   */
  ended?(): Promise<void>;
}
