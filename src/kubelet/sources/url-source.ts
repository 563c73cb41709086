import { createHash } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import type { UrlPodsConfig } from '../../config/kubelet-config.ts';
import { SwitchyardError, causeText } from '../../error.ts';
import { PolledUrl } from '../../informer/polled-url.ts';
import { withWatchdog } from '../../informer/watchdog.ts';
import type { Log } from '../../telemetry/log.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import { readStaticPods } from './read-static-pods.ts';
import { SourceState } from './source-state.ts';

/** As much as of a file. */
const mostBytes = 10 * 1024 * 1024;
/** From the request to the end of the answer. */
const answerWithinMs = 10_000;

export interface UrlSourceOptions extends UrlPodsConfig {
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Where HTTPS_PROXY and the like stand. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Static pods of a URL (Kubernetes: Create static Pods), which is asked again and again. All of them are told at first and after each
 * change. While it does not answer, or with something that is no list of pods, they stay as they are, as does each of them with which
 * something is wrong by itself; an answer without a single byte says that there are none.
 */
export class UrlSource {
  readonly state: SourceState;
  readonly #options: UrlSourceOptions;
  readonly #url: PolledUrl;
  /** Of what was read last; undefined: of nothing, or of what could not be used. */
  #hash: string | undefined;
  /** Those that were told last. */
  #pods: readonly Pod[] = [];

  constructor(options: UrlSourceOptions) {
    this.#options = options;
    this.#url = new PolledUrl({ ...options, maxBytes: mostBytes });
    this.state = new SourceState(options.log, this.#url.name);
  }

  /** Tells each new set until `signal` aborts. */
  async run(publish: (pods: readonly Pod[]) => void, signal: AbortSignal): Promise<void> {
    const { clock, pollMs } = this.#options;
    try {
      while (!signal.aborted) {
        await this.#poll(publish, signal);
        await clock.sleep(pollMs, signal);
      }
    } finally {
      await this.#url.close();
    }
  }

  async #poll(publish: (pods: readonly Pod[]) => void, signal: AbortSignal): Promise<void> {
    const { place } = this.state;
    try {
      const text = await this.#ask(signal);
      if (text === '') this.#nothing(publish);
      else if (text !== undefined) this.#take(text, publish);
      this.state.isStale = false;
      if (text !== '' && this.state.clear(place))
        this.#options.log.info({ url: place }, 'static pods: the URL answers again');
    } catch (error) {
      if (signal.aborted) return;
      this.#url.forget();
      this.#hash = undefined;
      this.state.isStale = true;
      this.state.complain(place, `cannot be used, its pods stay as they are: ${causeText(error)}`);
    }
  }

  /** undefined: it is what was given last. */
  async #ask(signal: AbortSignal): Promise<string | undefined> {
    const { clock } = this.#options;
    try {
      const answer = await withWatchdog(clock, answerWithinMs, signal, async (guarded) =>
        this.#url.ask(guarded, () => {}),
      );
      return answer.kind === 'unchanged' ? undefined : answer.text;
    } catch (cause) {
      if (!(cause instanceof SwitchyardError) || cause.code !== 'timeout') throw cause;
      const seconds = answerWithinMs / 1000;
      throw new SwitchyardError('timeout', `no whole answer within ${seconds} s`);
    }
  }

  /** It is taken at its word, and told of: hardly anybody means it. */
  #nothing(publish: (pods: readonly Pod[]) => void): void {
    this.#publish({ pods: [], refused: [] }, publish);
    this.#hash = undefined;
    this.state.complain(this.state.place, 'answers with nothing: there are no pods');
  }

  #take(text: string, publish: (pods: readonly Pod[]) => void): void {
    const hash = createHash('sha256').update(text).digest('hex');
    if (hash === this.#hash) return;
    const { nodeName } = this.#options;
    const place = { source: 'http', place: this.state.place, nodeName } as const;
    const read = readStaticPods(text, place, this.#pods);
    this.#hash = hash;
    this.#publish(read, publish);
  }

  #publish(
    { pods, refused }: ReturnType<typeof readStaticPods>,
    publish: (pods: readonly Pod[]) => void,
  ): void {
    this.state.keepOnly(new Set([this.state.place, ...refused.map(({ what }) => what)]));
    for (const { what, reason } of refused) this.state.complain(what, reason);
    const before = new Set(this.#pods.map(podText));
    for (const pod of new Set(pods.map(podText))) {
      if (!before.has(pod))
        this.#options.log.info({ url: this.state.place, pod }, 'static pod read');
    }
    this.#pods = pods;
    publish(pods);
  }
}
