import type { Trial } from './trial.ts';

/** One of the kubelet's scenarios; the same code for each runtime. */
export interface Scenario {
  /** Its number in docs/kubelet-scenarios.md. */
  readonly number: number;
  /** What is given, and what is seen. */
  readonly title: string;
  /** Why it cannot be asked of the runtime in memory. */
  readonly notInMemory?: string;
  /** Why no other may run at the same time. */
  readonly alone?: string;
  /** It waits for what comes each minute: begun before the others. */
  readonly long?: boolean;
  run(trial: Trial): Promise<void>;
}
