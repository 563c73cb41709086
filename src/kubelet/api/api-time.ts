/** As status has times: RFC 3339, whole seconds. */
export function apiTime(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

/** The same of nanoseconds, as the runtime has them; undefined: it has not happened. */
export function apiTimeOfNs(ns: bigint): string | undefined {
  return ns <= 0n ? undefined : apiTime(Number(ns / 1_000_000n));
}
