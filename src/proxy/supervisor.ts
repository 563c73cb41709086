import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { FileContent } from '../informer/file-watch.ts';
import { Wakeup, aborted } from '../informer/wakeup.ts';
import type { ConfigMetrics, ReloadResult } from '../telemetry/config-metrics.ts';
import type { Log } from '../telemetry/log.ts';
import type { AgentStart } from './agent-options.ts';
import type { LivePart } from './config-effects.ts';
import { changeText, planChanges } from './config-plan.ts';
import type { ConfigPlan } from './config-plan.ts';
import { Retirement } from './retirement.ts';
import { SupervisedRun } from './supervised-run.ts';
import type { ConfigReading, OpenAgent } from './supervised-run.ts';

/** What a {@link Supervisor} is made of. */
export interface SupervisorOptions {
  /** The configuration of the start. */
  readonly first: ConfigReading;
  /** Reads and validates a file's text; throws an error that names each field that cannot be used. */
  readonly read: (text: string) => ConfigReading;
  readonly open: OpenAgent;
  /** Lets a part of the process, beside the agent, follow a configuration. Rejects where that cannot be. */
  readonly adopt: (part: LivePart, config: ProxyConfig) => Promise<void>;
  /** Told of each configuration that comes into force. */
  readonly onInForce: (reading: ConfigReading) => void;
  /** What an agent that was replaced had is garbage now. */
  readonly onRetired: () => void;
  /** Closes what all agents had in common; called when the last one ends. */
  readonly close: () => Promise<void>;
  readonly metrics: ConfigMetrics;
  readonly clock: Clock;
  readonly log: Log;
}

const longestWaitMs = 3_600_000;
/** What keeps an agent from its start may pass: a credential that is not there yet. */
const firstRetryMs = 10_000;
const lastRetryMs = 300_000;
/** For the end of what an agent has at work when another one takes over. */
const longestEndMs = 30_000;

/** What no agent could start with. */
interface Failed {
  readonly content: FileContent;
  readonly retryMs: number;
}

/**
 * Owns the configuration in force. A new one is read, compared and followed: by the agent that runs where it can be,
 * else by a new agent, which takes over when it has all that it needs; until then the one before goes on. What cannot be
 * read, or with which no agent can start, changes nothing.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #wakeup = new Wakeup();
  readonly #retirement: Retirement;
  readonly #ended = Promise.withResolvers<void>();
  #inForce: SupervisedRun;
  #offered: FileContent | undefined;
  /** What an agent starts with. */
  #starting: FileContent | undefined;
  /** Aborted when something newer is offered. */
  #newer = new AbortController();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#retirement = new Retirement(options.clock, options.onRetired);
    this.#inForce = new SupervisedRun(options.first, options.open);
  }

  /** The configuration in force. */
  get reading(): ConfigReading {
    return this.#inForce.reading;
  }

  /**
   * The configuration file holds something new, or somebody asked for another look. An agent that starts with the very same goes on
   * with that.
   */
  offer(content: FileContent): void {
    if (this.#isConsidered(content)) {
      this.#options.log.info({}, 'an agent starts with this configuration already');
      return;
    }
    this.#offered = content;
    this.#newer.abort();
    this.#wakeup.ring();
  }

  /** Runs agents until `signal` aborts. Rejects where the first one cannot start, or the one in force fails. */
  async run(signal: AbortSignal): Promise<void> {
    const { first, metrics, clock, onInForce } = this.#options;
    onInForce(first);
    metrics.inForce({ sha256: first.sha256, mode: first.config.mode }, clock.now());
    this.#watch(this.#inForce, {});
    const stop = new AbortController();
    const onStop = (): void => {
      stop.abort();
      this.#inForce.stop.abort();
    };
    signal.addEventListener('abort', onStop, { once: true });
    if (signal.aborted) onStop();
    const following = this.#follow(stop.signal).then(() => this.#inForce.stop.abort());
    try {
      await Promise.race([this.#ended.promise, following.then(async () => this.#ended.promise)]);
    } finally {
      signal.removeEventListener('abort', onStop);
      onStop();
      this.#newer.abort();
      await following.catch(() => undefined);
      await this.#close();
    }
  }

  #isConsidered(content: FileContent): boolean {
    if (content.kind !== 'text' || this.#starting?.kind !== 'text') return false;
    return this.#starting.text === content.text && !this.#newer.signal.aborted;
  }

  async #close(): Promise<void> {
    const { shutdownMs } = this.#inForce.reading.config.userspace;
    this.#inForce.stop.abort();
    await this.#inForce.over();
    await Promise.all([
      this.#inForce.agent.close(),
      this.#retirement.end(shutdownMs),
      this.#options.close(),
    ]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    /** What no agent could start with, and how long to wait until that is tried again. */
    let failed: Failed | undefined;
    for (;;) {
      const content = await this.#next(failed, signal);
      if (content === undefined) return;
      const newer = AbortSignal.any([this.#newer.signal, signal]);
      const waitedMs = content === failed?.content ? failed.retryMs : firstRetryMs / 2;
      const end = await this.#consider(content, newer).catch((error: unknown) =>
        this.#mistaken(error),
      );
      const retryMs = Math.min(2 * waitedMs, lastRetryMs);
      failed = end === 'failed' ? { content, retryMs } : undefined;
    }
  }

  /** What is offered, or what failed when its time has come; undefined: `signal` has aborted. */
  async #next(failed: Failed | undefined, signal: AbortSignal): Promise<FileContent | undefined> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      // In one step: whatever is offered from now on is newer.
      this.#newer = new AbortController();
      const content = this.#offered;
      this.#offered = undefined;
      if (content !== undefined) return content;
      const isRung = await this.#wakeup.wait(clock, failed?.retryMs ?? longestWaitMs, signal);
      if (isRung || signal.aborted || failed === undefined) continue;
      this.#newer = new AbortController();
      return failed.content;
    }
    return undefined;
  }

  async #consider(content: FileContent, newer: AbortSignal): Promise<'failed' | 'done'> {
    const reading = this.#read(content);
    if (reading === undefined) return 'done';
    const { config, warnings } = this.#inForce.reading;
    const plan = planChanges(config, reading.config);
    for (const warning of reading.warnings) {
      if (!warnings.includes(warning)) this.#options.log.warn({}, warning);
    }
    this.#tell(plan);
    switch (plan.how) {
      case 'nothing':
        this.#taken(reading, 'unchanged');
        return 'done';
      case 'live':
        await this.#adopt(reading, plan);
        return 'done';
      case 'restart':
        this.#starting = content;
        return this.#replace(reading, plan, newer).finally(() => {
          this.#starting = undefined;
        });
      case 'new process':
        this.#refuse('it asks for what this process cannot follow', actionsOf(plan));
        return 'done';
      default:
        return plan.how satisfies never;
    }
  }

  /** A mistake of this program must not cost the agent that works. */
  #mistaken(error: unknown): 'failed' {
    const { log, metrics } = this.#options;
    metrics.reloaded('failed');
    log.error(
      { err: error, inForce: this.#inForce.reading.sha256 },
      `the new configuration cannot be followed, the last good one stays in force: ${errorText(error)}`,
    );
    return 'failed';
  }

  #read(content: FileContent): ConfigReading | undefined {
    if (content.kind === 'missing') {
      this.#refuse(`its file cannot be read: ${content.reason}`, []);
      return undefined;
    }
    try {
      return this.#options.read(content.text);
    } catch (error) {
      const { hint } = error instanceof SwitchyardError ? error : {};
      this.#refuse('it cannot be used', errorText(error).split('\n').filter(Boolean), hint);
      return undefined;
    }
  }

  #tell({ changes }: ConfigPlan): void {
    const { log } = this.#options;
    if (changes.length === 0) {
      log.info({}, 'the configuration says what it said before');
      return;
    }
    const list = changes.map(({ field, from, to, effect }) => ({
      field,
      from,
      to,
      how: effect.how,
    }));
    log.info({ changes: list }, `configuration changes: ${changes.map(changeText).join('; ')}`);
  }

  #refuse(why: string, problems: readonly string[], hint?: string): void {
    const { log, metrics } = this.#options;
    metrics.reloaded('refused');
    log.error(
      { problems, hint, inForce: this.#inForce.reading.sha256 },
      `the new configuration is refused, the last good one stays in force: ${[why, ...problems].join('; ')}`,
    );
  }

  #taken(reading: ConfigReading, result: ReloadResult): void {
    const { metrics, clock, log, onInForce } = this.#options;
    const { sha256, config } = reading;
    this.#inForce.reading = reading;
    onInForce(reading);
    metrics.inForce({ sha256, mode: config.mode }, clock.now());
    metrics.reloaded(result);
    log.info({ sha256, result }, 'the new configuration is in force');
  }

  /** The agent that runs goes on with it. */
  async #adopt(reading: ConfigReading, plan: ConfigPlan): Promise<void> {
    const before = this.#inForce.reading.config;
    const done: LivePart[] = [];
    try {
      for (const part of plan.parts) {
        done.push(part);
        await this.#options.adopt(part, reading.config);
      }
    } catch (error) {
      await this.#settle(before, plan, done);
      this.#refuse('it cannot be followed', [errorText(error)]);
      return;
    }
    this.#inForce.agent.reconfigure(reading.config);
    this.#taken(reading, 'live');
  }

  /** Those of these parts that a plan touches are as a configuration has them, whatever they were tried with. */
  async #settle(config: ProxyConfig, plan: ConfigPlan, parts: readonly LivePart[]): Promise<void> {
    const { adopt, log } = this.#options;
    for (const part of parts) {
      if (!plan.parts.has(part)) continue;
      try {
        await adopt(part, config);
      } catch (error) {
        log.error({ err: error, part }, `not as it was before: ${errorText(error)}`);
      }
    }
  }

  /** A new agent takes over; resolves when it has, when it cannot, or when something newer makes it pointless. */
  async #replace(
    reading: ConfigReading,
    plan: ConfigPlan,
    newer: AbortSignal,
  ): Promise<'failed' | 'done'> {
    const { log, metrics, open } = this.#options;
    const before = this.#inForce.reading;
    const next = new SupervisedRun(reading, open);
    const takenOver = Promise.withResolvers<void>();
    metrics.outdated();
    log.info({}, 'a new agent starts; the old one works until that one can take over');
    this.#watch(next, {
      // Nothing of the old agent may be named here: this is kept for as long as the new one works.
      takeOver: async () => {
        await this.#takeOver(next);
        this.#taken(reading, 'restart');
        takenOver.resolve();
      },
    });
    await Promise.race([takenOver.promise, next.over(), aborted(newer)]);
    if (next !== this.#inForce) next.stop.abort();
    const failure = next === this.#inForce ? undefined : await next.over();
    if (next === this.#inForce) {
      // It has begun to take over, which nothing newer may overtake: what is in force is told at the end of that.
      await Promise.race([takenOver.promise, next.over()]);
      await this.#settle(reading.config, plan, ['log']);
      return 'done';
    }
    await next.agent.close({ withinMs: 0, hurry: next.stop.signal });
    await this.#settle(before.config, plan, ['servers', 'process', 'kernel']);
    if (newer.aborted) {
      log.info({}, 'the new agent was given up before it took over');
      return 'done';
    }
    metrics.reloaded('failed');
    log.error(
      { err: failure, hint: hintOf(failure), inForce: before.sha256 },
      `no agent can start with the new configuration, the last good one stays in force: ${errorText(failure)}`,
    );
    return 'failed';
  }

  async #takeOver(next: SupervisedRun): Promise<void> {
    if (next.stop.signal.aborted) throw new Error('it was given up');
    const old = this.#inForce;
    this.#inForce = next;
    old.stop.abort();
    await this.#untilOver(old);
    old.followedBy(next);
    const { mode, userspace } = old.reading.config;
    // Two that listen for Services cannot do so at once. Else it goes on with that until rules lead elsewhere.
    if (mode === 'userspace' && next.reading.config.mode === mode) await old.agent.leave();
    const drainMs = Math.max(userspace.drainMs, userspace.shutdownMs);
    this.#retirement.add(old.agent, next.firstRules, drainMs);
  }

  /** A sync may go on for ten seconds, and a tool that is killed for five more. Whatever takes longer writes nothing any more. */
  async #untilOver(old: SupervisedRun): Promise<void> {
    const { clock, log } = this.#options;
    const waited = new AbortController();
    const isLate = clock.sleep(longestEndMs, waited.signal).then(() => !waited.signal.aborted);
    const late = await Promise.race([old.over().then(() => false), isLate]);
    waited.abort();
    if (!late) return;
    const hint =
      'see what its tools wait for (ps -ef); if Services are wrong afterwards, start the process anew';
    log.error(
      { hint, waitedMs: longestEndMs },
      `the agent before has not ended its work within ${longestEndMs / 1000} s; the new one goes on without waiting`,
    );
  }

  /** Starts a run, and hears of its end. */
  #watch(run: SupervisedRun, start: AgentStart): void {
    run.begin(start);
    void this.#hearEnd(run);
  }

  async #hearEnd(run: SupervisedRun): Promise<void> {
    const failure = await run.over();
    if (run !== this.#inForce) return;
    if (failure === undefined || run.stop.signal.aborted) this.#ended.resolve();
    else this.#ended.reject(failure);
  }
}

function actionsOf({ changes }: ConfigPlan): readonly string[] {
  return changes.filter(({ effect }) => effect.how === 'new process').map(changeText);
}

function hintOf(failure: unknown): string | undefined {
  return failure instanceof SwitchyardError ? failure.hint : undefined;
}
