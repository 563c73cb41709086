import type { Backend } from '../backends/backend.ts';
import type { SyncReport } from '../backends/sync-report.ts';
import type { IptablesBackend } from '../backends/iptables/backend.ts';
import type { IptablesState } from '../backends/iptables/state.ts';
import { besideIpvs } from '../backends/ipvs/beside.ts';
import type { FoundRemains, IpvsRemains } from '../backends/ipvs/remains.ts';
import { Turns } from '../backends/turns.ts';
import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';

export interface AfterIpvsParts {
  readonly family: Family;
  readonly remains: Pick<
    IpvsRemains,
    'find' | 'quiesce' | 'connections' | 'removeServers' | 'removeAddresses'
  >;
  /** How long connections may go on through ipvs. */
  readonly drainMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the watch; the next run goes on with it, and its time begins anew. */
  readonly lifetime: AbortSignal;
  /** Nothing of ipvs is left of any family: its settings can go back. */
  readonly onGone: () => Promise<void>;
}

/** What is left is looked at so often; it costs the reading of a file. */
const lookMs = 5000;

/**
 * Addresses outlast their virtual servers by so much where connections had to be given up: whoever speaks meanwhile is
 * forgotten by connection tracking, and is refused (TCP) or served anew (UDP) at the next packet.
 */
const lastWordsMs = 10_000;

/** How things stand. `unknown`: nobody has looked yet. */
type Stage =
  | { readonly kind: 'unknown' | 'nothing' }
  | {
      readonly kind: 'draining';
      readonly found: FoundRemains;
      /** Its virtual servers take no new connection any more. */
      readonly isQuiet: boolean;
    };

/** The parts of the iptables backend that this class decides over. */
export interface AfterIpvsHooks {
  readonly keepsIpvsSets: () => boolean;
  readonly adapt: (state: IptablesState) => IptablesState;
}

/**
 * The iptables mode on a node that may come from an ipvs mode, Switchyard's or kube-proxy's: new connections follow
 * the new rules from the first sync on, those that ipvs has begun go on until they end or a deadline passes, and then
 * kube-ipvs0, its virtual servers and sets go.
 */
export class AfterIpvs implements Backend {
  readonly mode = 'iptables';
  readonly #parts: AfterIpvsParts;
  readonly #backend: IptablesBackend;
  readonly #turns = new Turns();
  #stage: Stage = { kind: 'unknown' };
  #watch: Promise<void> | undefined;
  #isSettled = false;

  constructor(parts: AfterIpvsParts, make: (hooks: AfterIpvsHooks) => IptablesBackend) {
    this.#parts = parts;
    this.#backend = make({
      keepsIpvsSets: () => this.#stage.kind === 'draining',
      adapt: (state) => {
        const stage = this.#stage;
        if (stage.kind !== 'draining') return state;
        return besideIpvs(state, stage.found.boundSets, stage.isQuiet);
      },
    });
  }

  async sync(...args: Parameters<Backend['sync']>): Promise<SyncReport> {
    return this.#turns.take(async () => {
      const signal = args[2];
      if (this.#stage.kind === 'unknown') await this.#look(signal);
      const report = await this.#backend.sync(...args);
      if (this.#stage.kind === 'draining') this.#watch ??= this.#drain();
      if (this.#stage.kind === 'nothing' && !this.#isSettled) await this.#settleSettings();
      return report;
    });
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    return this.#turns.take(async () => this.#backend.audit(signal));
  }

  inFront(): readonly string[] {
    return this.#backend.inFront?.() ?? [];
  }

  invalidate(): void {
    this.#backend.invalidate();
  }

  desired(): ReturnType<Backend['desired']> {
    return this.#backend.desired();
  }

  /** Resolves when nothing is left, or the lifetime is over. */
  async ended(): Promise<void> {
    await this.#watch;
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { remains, family, drainMs, log } = this.#parts;
    const found = await remains.find(signal);
    this.#stage =
      found === undefined ? { kind: 'nothing' } : { kind: 'draining', found, isQuiet: false };
    if (found === undefined) return;
    const servers = found.servers.length;
    const addresses = found.bound?.size ?? 0;
    log.info(
      { family, servers, addresses, drainMs },
      `an ipvs mode ran here (${familyLabel(family)}): its connections go on until they end, for ${drainMs / 1000} s at most`,
    );
  }

  /** From here on ipvs takes nothing new: what it did for new connections goes, and what is not translated is refused. */
  async #guard(): Promise<void> {
    if (this.#stage.kind !== 'draining' || this.#stage.isQuiet) return;
    this.#stage = { ...this.#stage, isQuiet: true };
    this.#backend.invalidate();
    await this.#backend.renew(this.#parts.lifetime);
  }

  /** Begins when the rules are in: from then on nobody needs ipvs who does not use it already. */
  async #drain(): Promise<void> {
    const { clock, lifetime, drainMs, log } = this.#parts;
    const deadlineMs = clock.monotonic() + drainMs;
    while (!lifetime.aborted && this.#stage.kind === 'draining') {
      try {
        await this.#attempt(deadlineMs);
      } catch (error) {
        if (lifetime.aborted) return;
        log.warn({}, `what an ipvs mode has left is looked at again later: ${errorText(error)}`);
        await clock.sleep(lookMs, lifetime);
      }
    }
  }

  async #attempt(deadlineMs: number): Promise<void> {
    const { clock, lifetime, remains, family, log } = this.#parts;
    await remains.quiesce(lifetime);
    await this.#turns.take(async () => this.#guard());
    let left = await remains.connections(lifetime);
    while (left > 0 && clock.monotonic() < deadlineMs) {
      await clock.sleep(Math.min(lookMs, deadlineMs - clock.monotonic()), lifetime);
      if (lifetime.aborted) return;
      left = await remains.connections(lifetime);
    }
    await remains.removeServers(lifetime);
    if (left > 0) {
      log.warn(
        { family, connections: left },
        `${left} connections of ipvs mode outlast their time`,
      );
      await clock.sleep(lastWordsMs, lifetime);
      if (lifetime.aborted) return;
    }
    await this.#turns.take(async () => this.#end());
  }

  async #end(): Promise<void> {
    const { remains, lifetime, family, log } = this.#parts;
    const isGone = await remains.removeAddresses(lifetime);
    this.#stage = { kind: 'nothing' };
    this.#backend.invalidate();
    await this.#backend.renew(lifetime);
    log.info({ family }, `nothing of ipvs mode is left (${familyLabel(family)})`);
    if (isGone) await this.#settleSettings();
  }

  async #settleSettings(): Promise<void> {
    this.#isSettled = true;
    try {
      await this.#parts.onGone();
    } catch (error) {
      this.#parts.log.warn({}, `settings of ipvs mode stay: ${errorText(error)}`);
    }
  }
}
