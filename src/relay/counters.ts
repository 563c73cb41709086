import type { DialFailure, ListenerStats } from './relay.ts';

const dialFailures = [
  'refused',
  'timeout',
  'unreachable',
  'reset',
  'files',
  'other',
] as const satisfies readonly DialFailure[];

/** Where each counter stands among a worker's floats of one listener. */
export const field = {
  connections: 0,
  active: 1,
  bytesIn: 2,
  bytesOut: 3,
  retries: 4,
  refused: 5,
  evicted: 6,
  refusedDial: 7,
  timeoutDial: 8,
  unreachableDial: 9,
  resetDial: 10,
  filesDial: 11,
  otherDial: 12,
} as const;

/** Floats of one listener and worker. */
export const fieldsPerWorker = 16;

/**
 * What one worker counts of one listener. Only that worker writes here, so nothing has to be locked: an aligned number of
 * eight bytes is never seen half written on a 64-bit machine.
 */
export class Counters {
  readonly #slotOf: () => Float64Array;
  readonly #worker: number;
  #slot: Float64Array | undefined;
  #floats: Float64Array | undefined;

  /** `slotOf`: the listener's slot, of which a part is this worker's; asked for when there is something to count. */
  constructor(slotOf: () => Float64Array, worker: number) {
    this.#slotOf = slotOf;
    this.#worker = worker;
  }

  add(which: keyof typeof field, amount = 1): void {
    const index = field[which];
    this.#slot ??= this.#slotOf();
    const floats = (this.#floats ??= partOf(this.#slot, this.#worker));
    floats[index] = (floats[index] ?? 0) + amount;
  }

  /** What all workers together have. */
  total(which: keyof typeof field): number {
    return totalOf((this.#slot ??= this.#slotOf()), field[which]);
  }

  failedDial(reason: DialFailure): void {
    this.add(`${reason}Dial`);
  }
}

/** One worker's part of a listener's slot. */
export function partOf(slot: Float64Array, worker: number): Float64Array {
  return slot.subarray(worker * fieldsPerWorker, (worker + 1) * fieldsPerWorker);
}

/** What all workers have counted of one listener. */
export function sumOf(slot: Float64Array): ListenerStats {
  const total = (index: number): number => totalOf(slot, index);
  const failures = dialFailures.map((reason) => [reason, total(field[`${reason}Dial`])]);
  return {
    connections: total(field.connections),
    active: total(field.active),
    bytesIn: total(field.bytesIn),
    bytesOut: total(field.bytesOut),
    dialFailures: Object.fromEntries(failures) as Record<DialFailure, number>,
    retries: total(field.retries),
    refused: total(field.refused),
    evicted: total(field.evicted),
  };
}

function totalOf(slot: Float64Array, index: number): number {
  let sum = 0;
  for (let at = index; at < slot.length; at += fieldsPerWorker) sum += slot[at] ?? 0;
  return sum;
}
