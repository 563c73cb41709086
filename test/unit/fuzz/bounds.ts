import process from 'node:process';
import * as fc from 'fast-check';

const wanted = process.env['FUZZ_RUNS'];
const seed = process.env['FUZZ_SEED'];

/** Longer runs take what they take. */
export const fuzzTimeoutMs = wanted === undefined ? 30_000 : 3_600_000;

/**
 * How far a property is tried: `runs` times and no longer than a few seconds, so that the unit layer stays quick;
 * `FUZZ_RUNS=100000 npm run test:fuzz` tries each so often, however long that takes. fast-check prints the seed of a
 * failure; `FUZZ_SEED` repeats it.
 */
export function bounded<T>(runs: number): fc.Parameters<T> {
  const repeated = seed === undefined ? {} : { seed: Number(seed) };
  if (wanted !== undefined) return { numRuns: Number(wanted), ...repeated };
  return {
    numRuns: runs,
    plugins: [fc.interruptAfterTimeLimit(5000) as fc.Plugin<T>],
    ...repeated,
  };
}
