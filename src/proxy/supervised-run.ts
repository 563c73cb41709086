import type { ProxyConfig } from '../config/proxy-config.ts';
import type { FeatureState } from '../telemetry/build-info.ts';
import type { Agent } from './agent.ts';
import type { AgentStart } from './agent-options.ts';

/** A configuration as it was read. */
export interface ConfigReading {
  readonly config: ProxyConfig;
  /** What has no effect in it, in words. */
  readonly warnings: readonly string[];
  /** The feature gates, for metrics; left out: there are none. */
  readonly features?: readonly FeatureState[];
  /** Of the file's bytes, in hexadecimal; '' where flags alone say it. */
  readonly sha256: string;
  /** The KubeProxyConfiguration that it comes to, for /configz; left out: nobody says. */
  readonly effective?: () => object;
}

/** What the supervisor needs of an agent. */
export type SupervisedAgent = Pick<Agent, 'run' | 'reconfigure' | 'leave' | 'close'>;

/** Makes an agent that has not begun; `onFirstRules` is called when its first rules are written. */
export type OpenAgent = (config: ProxyConfig, onFirstRules: () => void) => SupervisedAgent;

/** One agent with its configuration, from its start to its end. */
export class SupervisedRun {
  /** With what it takes up later. */
  reading: ConfigReading;
  readonly agent: SupervisedAgent;
  /** Ends its work; its connections, where it has some, are another matter. */
  readonly stop = new AbortController();
  readonly #firstRules = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<unknown>();

  constructor(reading: ConfigReading, open: OpenAgent) {
    this.reading = reading;
    this.agent = open(reading.config, () => this.#firstRules.resolve());
  }

  begin(start: AgentStart): void {
    this.agent.run(this.stop, start).then(
      () => this.#over.resolve(undefined),
      (failure: unknown) => this.#over.resolve(failure ?? new Error('no reason was given')),
    );
  }

  get firstRules(): Promise<void> {
    return this.#firstRules.promise;
  }

  /** It is to write none any more: whoever waits for its rules is served by those of `next`. */
  followedBy(next: SupervisedRun): void {
    void next.firstRules.then(() => this.#firstRules.resolve());
  }

  /** Resolves at its end, with what ended it; undefined: it was asked to. */
  async over(): Promise<unknown> {
    return this.#over.promise;
  }
}
