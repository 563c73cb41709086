import type { Clock } from '../clock.ts';
import type { TrafficConfig } from '../config/proxy-config.ts';
import { errorText } from '../error.ts';
import type { InformerHandler } from '../informer/source.ts';
import type { ServiceObject } from '../services/objects.ts';
import type { Log } from '../telemetry/log.ts';
import type { TrafficReadings } from '../telemetry/traffic-metrics.ts';
import { TrafficTally } from '../telemetry/traffic-tally.ts';
import type { TrafficRow, TrafficSink } from '../telemetry/traffic-tally.ts';

/** Where traffic is counted: the kernel's rules, virtual servers or connections, or listeners. */
export interface TrafficSource {
  /** `rules IPv4`, for the log. */
  readonly name: string;
  /** Adds what has passed since the last time. */
  read(signal: AbortSignal): Promise<void>;
}

/** What a mode is given that is to count. */
export interface TrafficCounting extends TrafficSink {
  readonly hasBytes: boolean;
  watch(source: TrafficSource): void;
}

export interface ServiceTrafficOptions {
  readonly traffic: TrafficConfig;
  readonly clock: Clock;
  readonly log: Log;
}

/** Reading takes at most one part in so many of the time. */
const leastRest = 20;

/** Reads what sources have counted, time after time, and adds it up by service port. */
export class ServiceTraffic implements TrafficCounting, TrafficReadings {
  readonly hasBytes: boolean;
  readonly #options: ServiceTrafficOptions;
  readonly #tally: TrafficTally;
  readonly #sources: TrafficSource[] = [];
  /** Why a source could not be read, as it was last told. */
  readonly #told = new Map<TrafficSource, string>();
  #lastReadMs = 0;
  #failures = 0;

  constructor(options: ServiceTrafficOptions) {
    this.#options = options;
    this.hasBytes = options.traffic.what === 'bytes';
    this.#tally = new TrafficTally(options.traffic);
  }

  /** Told of Services before anybody counts for them. */
  readonly handler: InformerHandler<ServiceObject> = {
    added: (service) => {
      this.#tally.exists(nameOf(service), keysOf(service));
    },
    updated: (_previous, service) => {
      this.#tally.exists(nameOf(service), keysOf(service));
    },
    removed: (service) => {
      this.#tally.exists(nameOf(service), []);
    },
  };

  /** Goes on with what another one has counted, of service ports that exist still. */
  goOnFrom(before: Pick<TrafficReadings, 'rows' | 'failures'> | undefined): void {
    if (before === undefined) return;
    this.#tally.goOnFrom(before.rows());
    this.#failures += before.failures;
  }

  watch(source: TrafficSource): void {
    this.#sources.push(source);
  }

  add(...args: Parameters<TrafficSink['add']>): void {
    this.#tally.add(...args);
  }

  missed(): void {
    this.#failures++;
  }

  /** Reads at once and then every interval, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, traffic } = this.#options;
    while (!signal.aborted) {
      const startedMs = clock.monotonic();
      await this.#readAll(signal);
      const tookMs = clock.monotonic() - startedMs;
      await clock.sleep(Math.max(traffic.intervalMs - tookMs, (leastRest - 1) * tookMs), signal);
    }
  }

  rows(): readonly TrafficRow[] {
    return this.#tally.rows();
  }

  get named(): number {
    return this.#tally.named;
  }

  get limit(): number {
    return this.#tally.limit;
  }

  get lastReadMs(): number {
    return this.#lastReadMs;
  }

  get failures(): number {
    return this.#failures;
  }

  /** One after the other: no more than one tool of these is at work. */
  async #readAll(signal: AbortSignal): Promise<void> {
    let allRead = true;
    for (const source of this.#sources) {
      if (signal.aborted) return;
      try {
        await source.read(signal);
        this.#told.delete(source);
      } catch (error) {
        if (signal.aborted) return;
        allRead = false;
        this.#failures++;
        this.#tell(source, errorText(error));
      }
    }
    if (allRead) this.#lastReadMs = this.#options.clock.now();
  }

  /** The same once. */
  #tell(source: TrafficSource, why: string): void {
    if (this.#told.get(source) === why) return;
    this.#told.set(source, why);
    this.#options.log.warn({}, `cannot read what ${source.name} have counted: ${why}`);
  }
}

/** Undefined where nobody asked. */
export function openServiceTraffic(
  config: TrafficConfig,
  options: Pick<ServiceTrafficOptions, 'clock' | 'log'>,
): ServiceTraffic | undefined {
  if (config.what === 'none') return undefined;
  const { clock, log } = options;
  return new ServiceTraffic({ traffic: config, clock, log });
}

function nameOf({ meta }: ServiceObject): string {
  return `${meta.namespace}/${meta.name}`;
}

function keysOf(service: ServiceObject): readonly string[] {
  return service.ports.map(({ name, protocol }) => {
    const port = name === '' ? '' : `:${name}`;
    return `${nameOf(service)}${port}/${protocol}`;
  });
}
