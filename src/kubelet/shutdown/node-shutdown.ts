import type { Clock } from '../../clock.ts';
import type { ShutdownGroup } from '../../config/eviction-config.ts';
import { errorText } from '../../error.ts';
import type { HeldShutdown, ShutdownHost } from '../../host/logind.ts';
import { Wakeup } from '../../informer/wakeup.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Pod } from '../pod/pod.ts';
import type { ForcedEnd } from '../ports.ts';
import { shutdownReason } from '../status/shutdown-reason.ts';
import { leavingPods } from './shutdown-groups.ts';

export interface NodeShutdownOptions {
  /** None: nothing is waited for. */
  readonly groups: readonly ShutdownGroup[];
  readonly host: ShutdownHost;
  /** Those that run or will. */
  readonly pods: () => readonly Pod[];
  /** Whether anything of it may still run. */
  readonly isAlive: (uid: string) => boolean;
  readonly end: (uid: string, end: { graceSeconds: number; forced: ForcedEnd }) => void;
  /** Whether all that is known of pods has been told to the API server. */
  readonly isTold: () => boolean;
  /** The node is not ready from now on, and takes no pod; or is, and does again. */
  readonly tell: (isShuttingDown: boolean) => void;
  readonly clock: Clock;
  readonly log: Log;
}

const ended: ForcedEnd = {
  reason: shutdownReason,
  message: 'Pod was terminated in response to imminent node shutdown.',
  isDisruption: true,
};
const againMs = 60_000;
const askEveryMs = 200;

/**
 * Ends pods in order when the machine is shut down, and holds the shutdown back meanwhile (KEP-2000, 2712). That this process is asked to end
 * is no shutdown of the machine.
 */
export class NodeShutdown {
  readonly #options: NodeShutdownOptions;
  readonly #news = new Wakeup();
  #isShuttingDown = false;
  #toldMissing = false;
  #held: HeldShutdown | undefined;

  constructor(options: NodeShutdownOptions) {
    this.#options = options;
  }

  /** Until `signal`. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { groups, clock, log } = this.#options;
    if (groups.length === 0) return;
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        const text = `a shutdown of the machine is not waited for: ${errorText(error)}`;
        if (!this.#toldMissing && !signal.aborted) log.warn({}, text);
        this.#toldMissing = true;
      }
      await clock.sleep(againMs, signal);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { host, tell } = this.#options;
    const over = new AbortController();
    const within = AbortSignal.any([signal, over.signal]);
    const onShutdown = (begins: boolean): void => {
      if (begins === this.#isShuttingDown) return;
      this.#isShuttingDown = begins;
      // Before anything else: no pod is to come any more.
      tell(begins);
      this.#news.ring();
    };
    const { lost } = await host.follow(onShutdown, within);
    const holding = this.#hold(within);
    try {
      await Promise.race([holding, lost]);
    } finally {
      over.abort();
      await Promise.allSettled([holding, lost]);
      await this.#release();
    }
  }

  /** The lock is held until pods have ended, and taken again where a shutdown is called off. */
  async #hold(signal: AbortSignal): Promise<void> {
    const { clock, host, log } = this.#options;
    await this.#allow();
    while (!signal.aborted) {
      if (this.#isShuttingDown) {
        await this.#endPods(signal);
        await this.#release();
        while (this.#isShuttingDown && !signal.aborted)
          await this.#news.wait(clock, againMs, signal);
        continue;
      }
      this.#held ??= await host.hold();
      this.#toldMissing = false;
      const { ended: lost } = this.#held;
      const news = new AbortController();
      const waiting = this.#news.wait(clock, againMs, AbortSignal.any([signal, news.signal]));
      const isLost = await Promise.race([lost.then(() => true), waiting.then(() => false)]);
      news.abort();
      await waiting;
      if (!isLost || signal.aborted) continue;
      log.warn({}, 'the lock that holds a shutdown back was lost; it is taken again');
      this.#held = undefined;
      await clock.sleep(1000, signal);
    }
  }

  async #allow(): Promise<void> {
    const { groups, host, log } = this.#options;
    const seconds = groups.reduce((sum, group) => sum + group.seconds, 0);
    const allowedMs = await host.allow(seconds * 1000);
    if (allowedMs >= seconds * 1000) return;
    log.warn(
      { seconds, allowedSeconds: Math.floor(allowedMs / 1000) },
      'systemd-logind holds a shutdown back for less time than pods are given: raise InhibitDelayMaxSec',
    );
  }

  async #release(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.release();
  }

  async #endPods(signal: AbortSignal): Promise<void> {
    const { groups, pods, clock, log, isTold, isAlive, end } = this.#options;
    log.warn({}, 'the machine is shut down: pods end');
    let untilMs = clock.monotonic();
    for (const { seconds, pods: leaving } of leavingPods(groups, pods())) {
      if (!this.#goesOn(signal)) return;
      // What those before did not need is no gift to these: their own time is what they are promised.
      untilMs = clock.monotonic() + seconds * 1000;
      for (const { metadata, spec } of leaving) {
        const graceSeconds = Math.min(seconds, spec.terminationGracePeriodSeconds);
        end(metadata.uid, { graceSeconds, forced: ended });
      }
      const left = (): number => leaving.filter(({ metadata }) => isAlive(metadata.uid)).length;
      while (left() > 0 && clock.monotonic() < untilMs && this.#goesOn(signal))
        await clock.sleep(askEveryMs, signal);
      if (left() > 0) log.warn({ pods: left() }, 'pods have not ended in the time they had');
    }
    while (!isTold() && clock.monotonic() < untilMs && this.#goesOn(signal))
      await clock.sleep(askEveryMs, signal);
    log.info({}, 'pods have ended, the shutdown goes on');
  }

  #goesOn(signal: AbortSignal): boolean {
    return this.#isShuttingDown && !signal.aborted;
  }
}
