import type { World } from './world.ts';

/** One of the kubelet's scenarios; the same code for each runtime. */
export interface Scenario {
  /** Its number in the table of docs/kubelet.md. */
  readonly number: number;
  /** What is given, and what is seen. */
  readonly title: string;
  /** Why it cannot be asked of the runtime in memory. */
  readonly notInMemory?: string;
  run(world: World): Promise<void>;
}
