import { parseAddress } from '../ip/address.ts';
import { nodeKey, schedulerFlags, schedulers } from './balancing.ts';
import type { Balancing, Scheduler, SchedulerFlag, Scheduling } from './balancing.ts';
import type { FieldReader, Raw } from './field-reader.ts';
import { objectNameProblem } from './object-names.ts';

const prefix = 'switchyard.io/';
const known = [
  'scheduler',
  'scheduler-flags',
  'weights',
  'drain-seconds',
  'udp-timeout',
  'proxy-protocol',
] as const;
type Known = (typeof known)[number];

/**
 * The annotations of a Service that are ours (docs/annotations.md); undefined where there is none. What is not
 * understood is reported and left out, item by item.
 */
export function balancingOf(service: Raw, reader: FieldReader): Balancing | undefined {
  const meta = reader.object(service, 'metadata', 'metadata');
  const annotations = reader.object(meta, 'annotations', 'metadata.annotations');
  const own = Object.keys(annotations).filter((key) => key.startsWith(prefix));
  if (own.length === 0) return undefined;
  const reading = new Reading(annotations, reader);
  for (const key of own) reading.checkName(key.slice(prefix.length));
  const scheduling = reading.scheduling();
  const weights = reading.weights();
  const drainSeconds = reading.drainSeconds();
  const udpTimeoutMs = reading.udpTimeoutMs();
  return {
    ...(scheduling && { scheduling }),
    ...(weights.size > 0 && { weights }),
    ...(drainSeconds !== undefined && { drainSeconds }),
    ...(udpTimeoutMs !== undefined && { udpTimeoutMs }),
    ...(reading.proxyProtocol() && { proxyProtocol: true }),
  };
}

class Reading {
  readonly #annotations: Raw;
  readonly #reader: FieldReader;

  constructor(annotations: Raw, reader: FieldReader) {
    this.#annotations = annotations;
    this.#reader = reader;
  }

  checkName(name: string): void {
    if (known.some((each) => each === name)) return;
    this.#report(name, `is not read; known are ${known.map((each) => prefix + each).join(', ')}`);
  }

  scheduling(): Scheduling | undefined {
    const name = this.#text('scheduler');
    const scheduler = schedulers.find((each) => each === name);
    if (name !== undefined && scheduler === undefined)
      this.#report('scheduler', `expected one of ${schedulers.join(', ')}, got ${shown(name)}`);
    const flags = this.#flags(scheduler);
    return scheduler && { scheduler, flags };
  }

  #flags(scheduler: Scheduler | undefined): readonly SchedulerFlag[] {
    const flags = new Set<SchedulerFlag>();
    for (const item of this.#items('scheduler-flags')) {
      const flag = schedulerFlags.find((each) => each === item);
      const needed = flag?.slice(0, 2);
      if (flag === undefined)
        this.#report(
          'scheduler-flags',
          `expected ${schedulerFlags.join(', ')}, got ${shown(item)}`,
        );
      else if (needed === scheduler) flags.add(flag);
      else this.#report('scheduler-flags', `${flag} needs ${prefix}scheduler: ${needed}`);
    }
    return [...flags].toSorted();
  }

  weights(): ReadonlyMap<string, number> {
    const weights = new Map<string, number>();
    for (const item of this.#items('weights')) {
      const [, name = '', number = ''] = /^([^=]*)=(.*)$/.exec(item) ?? [];
      const key = keyOf(name.trim());
      const weight = integer(number.trim(), 1, 65_535);
      if (key === undefined || weight === undefined)
        this.#report(
          'weights',
          `expected ADDRESS=WEIGHT or node/NAME=WEIGHT with a weight of 1 to 65535, got ${shown(item)}`,
        );
      else if (weights.has(key)) this.#report('weights', `${key} has a weight already`);
      else weights.set(key, weight);
    }
    return weights;
  }

  drainSeconds(): number | undefined {
    const text = this.#text('drain-seconds');
    if (text === undefined) return undefined;
    const seconds = integer(text, 0, 86_400);
    if (seconds === undefined)
      this.#report('drain-seconds', `expected 0 to 86400, got ${shown(text)}`);
    return seconds;
  }

  udpTimeoutMs(): number | undefined {
    const text = this.#text('udp-timeout');
    if (text === undefined) return undefined;
    const timeout = milliseconds(text);
    if (timeout === undefined)
      this.#report('udp-timeout', `expected 1ms to 24h, such as 250ms or 30s, got ${shown(text)}`);
    return timeout;
  }

  proxyProtocol(): boolean {
    const text = this.#text('proxy-protocol');
    if (text !== undefined && text !== 'v2')
      this.#report('proxy-protocol', `expected v2, got ${shown(text)}`);
    return text === 'v2';
  }

  #text(name: Known): string | undefined {
    const key = prefix + name;
    return this.#reader.text(this.#annotations, key, fieldOf(name))?.trim();
  }

  /** What stands between commas. */
  #items(name: Known): readonly string[] {
    const items = (this.#text(name) ?? '').split(',').map((item) => item.trim());
    return items.filter((item) => item !== '');
  }

  #report(name: string, reason: string): void {
    this.#reader.report(fieldOf(name), reason);
  }
}

function fieldOf(name: string): string {
  return `metadata.annotations[${prefix}${name}]`;
}

/** The key in its one spelling; undefined where it is neither an address nor a node. */
function keyOf(name: string): string | undefined {
  const [, node] = /^node\/(.*)$/.exec(name) ?? [];
  if (node === undefined) return parseAddress(name);
  return objectNameProblem(node) === undefined ? nodeKey(node) : undefined;
}

function integer(text: string, min: number, max: number): number | undefined {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : undefined;
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A whole number of one unit; undefined where it is none, nothing, or more than a day. */
function milliseconds(text: string): number | undefined {
  const [, number = '', unit = ''] = /^(\d{1,8})(ms|s|m|h)$/.exec(text) ?? [];
  const value = Number(number) * (units[unit] ?? 0);
  return value >= 1 && value <= 86_400_000 ? value : undefined;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
