import { setTimeout as delay } from 'node:timers/promises';
import type { Row } from './rows.ts';

export type Variant = 'legacy' | 'nft';

/** What every part of the benchmark gets. */
export interface Bench {
  /** Our proxy as it is shipped: the path of the bundle. */
  readonly bundle: string;
  /** Numbers of services to measure at. */
  readonly sizes: readonly number[];
  /** Repetitions of a start. */
  readonly runs: number;
  /** For how long CPU time is counted. */
  readonly cpuSeconds: number;
  /** After that time a proxy that has not programmed everything is given up. */
  readonly startSeconds: number;
  /** Whether upstream's proxy runs with nft tools too, at all sizes: minutes at 10,000 services. */
  readonly upstreamNft: boolean;
  /** Aborts when the part's time is over, or the run is interrupted. */
  readonly signal: AbortSignal;
  /** Prints a row at once, so that an interrupted part has shown what it knows. */
  readonly row: (row: Row) => void;
  readonly progress: (text: string) => void;
}

/** A part of the benchmark: a table of its own. */
export interface Part {
  readonly title: string;
  /** It is given up after that time. */
  readonly limitMinutes: number;
  run(bench: Bench): Promise<void>;
}

/** Waits; rejects when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal });
}

/** The sizes of a part that were asked for. */
export function sizesOf(bench: Bench, ...sizes: readonly number[]): readonly number[] {
  return sizes.filter((size) => bench.sizes.includes(size));
}
