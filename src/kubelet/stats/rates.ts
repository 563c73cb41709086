import type { Measured, MeasuredCpu } from './measured.ts';

interface Sample {
  readonly seconds: number;
  readonly atMs: number;
  readonly nanoCores: number | undefined;
}

/** Two samples that are closer say little. */
const leastMs = 1000;

/** How many CPUs were used of late: between a sample and the one before, which are whenever somebody asks. */
export class Rates {
  #samples: ReadonlyMap<string, Sample> = new Map();
  #next = new Map<string, Sample>();

  /** The same with a rate, where there is one: its own, or by the sample before. `name`: whose it is. */
  rated<T extends Measured>(name: string, measured: T): T {
    const { cpu } = measured;
    if (cpu === undefined) return measured;
    const before = this.#samples.get(name);
    const isNew = before === undefined || cpu.atMs - before.atMs >= leastMs;
    const nanoCores = cpu.nanoCores ?? (isNew ? rateOf(cpu, before) : before.nanoCores);
    this.#next.set(name, isNew ? { ...cpu, nanoCores } : before);
    return { ...measured, cpu: { ...cpu, nanoCores } };
  }

  /** All have been seen: who was not is forgotten. */
  turn(): void {
    this.#samples = this.#next;
    this.#next = new Map();
  }
}

/** undefined: there was none before, or it began anew meanwhile. */
function rateOf(cpu: MeasuredCpu, before: Sample | undefined): number | undefined {
  if (before === undefined || cpu.seconds < before.seconds) return undefined;
  const seconds = (cpu.atMs - before.atMs) / 1000;
  return Math.round(((cpu.seconds - before.seconds) / seconds) * 1e9);
}
