import type { Log } from '../telemetry/log.ts';
import type { ListenerKey } from './relay.ts';

/** The same matter of the same listener is told again after so long. */
const quietMs = 10_000;
/** More matters than anybody reads are not remembered. */
const mostMatters = 10_000;

export type Say = (
  level: keyof Log,
  fields: Readonly<Record<string, unknown>>,
  message: string,
) => void;

interface Matter {
  readonly until: number;
  unsaid: number;
}

/** Tells what goes wrong, each matter of a listener once in ten seconds: a flood of failures makes no flood of lines. */
export class Report {
  readonly #say: Say;
  readonly #now: () => number;
  readonly #matters = new Map<string, Matter>();

  constructor(say: Say, now: () => number) {
    this.#say = say;
    this.#now = now;
  }

  /** `message` names the matter; `fields` are of this one time. `unsaid` counts those that were not told since. */
  warn(
    listener: ListenerKey,
    message: string,
    fields: () => Readonly<Record<string, unknown>>,
  ): void {
    const name = `${listener} ${message}`;
    const now = this.#now();
    const matter = this.#matters.get(name);
    if (matter !== undefined && now < matter.until) {
      matter.unsaid++;
      return;
    }
    if (this.#matters.size >= mostMatters) this.#matters.clear();
    this.#matters.set(name, { until: now + quietMs, unsaid: 0 });
    const unsaid = matter?.unsaid ? { unsaid: matter.unsaid } : {};
    this.#say('warn', { listener, ...fields(), ...unsaid }, message);
  }
}
