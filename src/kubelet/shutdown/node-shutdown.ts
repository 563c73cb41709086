import type { Clock } from '../../clock.ts';
import type { ShutdownGroup } from '../../config/eviction-config.ts';
import { errorText } from '../../error.ts';
import type { HeldShutdown, ShutdownHost } from '../../host/logind.ts';
import { Wakeup } from '../../informer/wakeup.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Pod } from '../pod/pod.ts';
import type { ForcedEnd } from '../ports/pod-status.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
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
  /** A static pod that was asked to end is to run after all: nobody else makes another in its place. */
  readonly beginAnew: (uid: string) => void;
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
const firstAgainMs = 1000;
const askEveryMs = 200;

/**
 * Ends pods in order when the machine is shut down, and holds the shutdown back meanwhile (KEP-2000, 2712). That this process is asked to end
 * is no shutdown of the machine, and that nothing is heard for a while changes nothing: the lock stays, and pods that end go on ending.
 */
export class NodeShutdown {
  readonly #options: NodeShutdownOptions;
  readonly #news = new Wakeup();
  /** As it was last heard of. */
  #isShuttingDown = false;
  /** Whether there is somebody who would tell now. */
  #isHeard = false;
  /** Whether whoever is heard now holds back for long enough, or has been asked to. */
  #isAllowed = false;
  /** Pods that were asked to end in this shutdown. */
  readonly #asked = new Set<string>();
  /** Those of them that no API server has. */
  readonly #statics = new Set<string>();
  #toldMissing = false;
  #held: HeldShutdown | undefined;

  constructor(options: NodeShutdownOptions) {
    this.#options = options;
  }

  /** Until `signal`. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.groups.length === 0) return;
    await Promise.all([this.#listen(signal), this.#hold(signal)]);
  }

  /** Who is gone is looked for again: at once, then after a second, and less and less often. */
  async #listen(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const sinceMs = clock.monotonic();
      try {
        await this.#follow(signal);
      } catch (error) {
        this.#missing(error, signal);
      }
      if (clock.monotonic() - sinceMs >= againMs) failures = 0;
      if (failures > 0)
        await clock.sleep(Math.min(againMs, firstAgainMs * 2 ** (failures - 1)), signal);
      failures += 1;
    }
  }

  /** Until nothing is heard any more. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { lost } = await this.#options.host.follow((begins) => this.#heard(begins), signal);
    this.#isAllowed = false;
    this.#isHeard = true;
    this.#news.ring();
    await lost;
    this.#isHeard = false;
  }

  #heard(begins: boolean): void {
    if (begins === this.#isShuttingDown) return;
    this.#isShuttingDown = begins;
    // Before anything else: no pod is to come any more.
    this.#options.tell(begins);
    this.#news.ring();
  }

  #missing(error: unknown, signal: AbortSignal): void {
    const text = `a shutdown of the machine is not waited for: ${errorText(error)}`;
    if (!this.#toldMissing && !signal.aborted) this.#options.log.warn({}, text);
    this.#toldMissing = true;
  }

  /** The lock is held until pods have ended, and taken again where a shutdown is called off. */
  async #hold(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      try {
        if (this.#isShuttingDown) await this.#shutDown(signal);
        else if (this.#isHeard) await this.#keepLock(signal);
        else await this.#news.wait(clock, againMs, signal);
      } catch (error) {
        this.#missing(error, signal);
        await this.#news.wait(clock, againMs, signal);
      }
    }
    await this.#release();
  }

  /** Until the shutdown is called off. Pods may come that an earlier process let in. */
  async #shutDown(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    log.warn({}, 'the machine is shut down: pods end');
    this.#asked.clear();
    this.#statics.clear();
    await this.#endPods(signal);
    await this.#release();
    log.info({}, 'pods have ended, the shutdown goes on');
    while (this.#goesOn(signal)) {
      await this.#news.wait(clock, firstAgainMs, signal);
      if (this.#goesOn(signal) && this.#notAsked().length > 0) await this.#endPods(signal);
    }
    if (!signal.aborted) for (const uid of this.#statics) this.#options.beginAnew(uid);
  }

  /** Until there is news, or the lock is lost. */
  async #keepLock(signal: AbortSignal): Promise<void> {
    const { clock, host, log } = this.#options;
    if (!this.#isAllowed) await this.#allow();
    this.#held ??= await host.hold();
    this.#toldMissing = false;
    const { ended: lost } = this.#held;
    const news = new AbortController();
    const waiting = this.#news.wait(clock, againMs, AbortSignal.any([signal, news.signal]));
    const isLost = await Promise.race([lost.then(() => true), waiting.then(() => false)]);
    news.abort();
    await waiting;
    if (!isLost || signal.aborted) return;
    log.warn({}, 'the lock that holds a shutdown back was lost; it is taken again');
    this.#held = undefined;
    await clock.sleep(1000, signal);
  }

  async #allow(): Promise<void> {
    const { groups, host, log } = this.#options;
    const seconds = groups.reduce((sum, group) => sum + group.seconds, 0);
    const allowedMs = await host.allow(seconds * 1000);
    this.#isAllowed = true;
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
    const { groups, clock, log, isTold, isAlive, end } = this.#options;
    let untilMs = clock.monotonic();
    for (const { seconds, pods: leaving } of leavingPods(groups, this.#notAsked())) {
      if (!this.#goesOn(signal)) return;
      // What those before did not need is no gift to these: their own time is what they are promised.
      untilMs = clock.monotonic() + seconds * 1000;
      for (const { metadata, spec } of leaving) {
        this.#asked.add(metadata.uid);
        if (isStaticPod({ metadata })) this.#statics.add(metadata.uid);
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
  }

  #notAsked(): readonly Pod[] {
    return this.#options.pods().filter(({ metadata }) => !this.#asked.has(metadata.uid));
  }

  #goesOn(signal: AbortSignal): boolean {
    return this.#isShuttingDown && !signal.aborted;
  }
}
