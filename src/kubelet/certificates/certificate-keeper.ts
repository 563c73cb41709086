import { isIP } from 'node:net';
import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { CertificateMeter } from '../../telemetry/certificate-metrics.ts';
import type { Log } from '../../telemetry/log.ts';
import type { CertificateStore, KeptCertificate } from './certificate-store.ts';
import { RequestRefused, signed } from './signing.ts';
import type { SigningPorts, SigningWish } from './signing.ts';
import { RequestWait } from './request-wait.ts';

export interface CertificateKeeperOptions {
  /** For texts: `client certificate`. */
  readonly what: string;
  readonly store: CertificateStore;
  /** What counts now, also looked at while a request waits; rejects where that cannot be told; default: what the store has. */
  readonly current?: () => Promise<KeptCertificate | undefined>;
  /** Whom a certificate is to be for; undefined: that is not known yet. */
  readonly wish: () => SigningWish | undefined;
  /** Gives the API that requests are made to. `expired`: the certificate is of no use any more. */
  readonly withApi: (
    expired: boolean,
    use: (api: SigningPorts['api']) => Promise<string>,
  ) => Promise<string>;
  /** Another one counts from now on. */
  readonly onRenewed: () => Promise<void>;
  readonly meter: CertificateMeter;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Certificates are renewed when this part of their life is over, the nodes of a cluster not all at once. */
const renewal = { from: 0.7, to: 0.9 };
/** The clock can be set, and the file exchanged. */
const lookMs = 60_000;
/** One that is due when it comes is not followed by the next at once. */
const leastLifeMs = 10_000;

/** Keeps a certificate renewed: asks for one where there is none, where it is not for what it has to be for, and before it ends. */
export class CertificateKeeper {
  readonly #options: CertificateKeeperOptions;
  readonly #wait: RequestWait;
  /** The certificate that was looked at last, and which part of its life it is used for. */
  #seen: { readonly fingerprint: string; readonly part: number } | undefined;

  constructor(options: CertificateKeeperOptions) {
    this.#options = options;
    this.#wait = new RequestWait(options.random);
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) await this.#options.clock.sleep(await this.#turn(signal), signal);
  }

  /** Gives how long to wait before the next look. What fails must not end an agent whose pods run. */
  async #turn(signal: AbortSignal): Promise<number> {
    const { meter, what, log } = this.#options;
    try {
      const current = await this.#current();
      meter.holds(current?.notAfterMs);
      const wish = this.#options.wish();
      if (wish === undefined) return leastLifeMs;
      const dueMs = this.#dueInMs(current, wish);
      return dueMs > 0 ? Math.min(dueMs, lookMs) : await this.#renew(current, wish, signal);
    } catch (error) {
      if (!signal.aborted) log.warn({}, `${what}: ${errorText(error)}`);
      return lookMs;
    }
  }

  /** Rejects where that cannot be read, which is no reason to ask for another. */
  async #current(): Promise<KeptCertificate | undefined> {
    const { store, current = async () => store.current() } = this.#options;
    return current();
  }

  /** Somebody else may have put another one there. */
  async #isStill(former: KeptCertificate | undefined): Promise<boolean> {
    const { what, log } = this.#options;
    try {
      const current = await this.#current();
      return (
        current === undefined || current.parsed.fingerprint256 === former?.parsed.fingerprint256
      );
    } catch (error) {
      log.warn({}, `${what}: ${errorText(error)}`);
      return true;
    }
  }

  #dueInMs(current: KeptCertificate | undefined, wish: SigningWish): number {
    if (current === undefined || !isFor(current, wish)) return 0;
    const { notBeforeMs, notAfterMs, parsed } = current;
    if (this.#seen?.fingerprint !== parsed.fingerprint256) {
      const part = renewal.from + (renewal.to - renewal.from) * this.#options.random();
      this.#seen = { fingerprint: parsed.fingerprint256, part };
    }
    const dueMs = notBeforeMs + (notAfterMs - notBeforeMs) * this.#seen.part;
    return dueMs - this.#options.clock.now();
  }

  /** Gives how long to wait before the next look. */
  async #renew(
    former: KeptCertificate | undefined,
    wish: SigningWish,
    signal: AbortSignal,
  ): Promise<number> {
    const { what, store, clock, log, meter, withApi } = this.#options;
    const isExpired = former !== undefined && former.notAfterMs <= clock.now();
    try {
      const key = await store.pendingKey();
      const isWanted = async (): Promise<boolean> =>
        sameWish(this.#options.wish(), wish) && (await this.#isStill(former));
      const cert = await withApi(isExpired, async (api) =>
        signed(wish, key, { api, clock, log, isWanted }, signal),
      );
      await store.keep(cert, key, clock.now());
      await store.dropPendingKey();
      this.#wait.reset();
      meter.renewed(former && (clock.now() - former.notBeforeMs) / 1000);
      log.info({ file: store.currentPath }, `${what}: another one counts`);
      await this.#options.onRenewed();
      return leastLifeMs;
    } catch (error) {
      if (signal.aborted) return 0;
      meter.failed();
      if (error instanceof RequestRefused) await store.dropPendingKey();
      const hint = error instanceof SwitchyardError ? error.hint : undefined;
      const text = `${what}${isExpired ? ', which has expired' : ''}: ${errorText(error)}`;
      log.warn({}, hint === undefined ? text : `${text}; ${hint}`);
      return this.#wait.nextMs();
    }
  }
}

function isFor({ parsed }: KeptCertificate, { subject }: SigningWish): boolean {
  if (!parsed.subject.split('\n').includes(`CN=${subject.commonName}`)) return false;
  const names = new Set((parsed.subjectAltName ?? '').toLowerCase().split(', '));
  const isNamed = (name: string): boolean =>
    names.has(`dns:${name.toLowerCase()}`) ||
    // Node throws where it is asked for a host name.
    (isIP(name) !== 0 && parsed.checkIP(name) !== undefined);
  return subject.names.every(isNamed);
}

function sameWish(a: SigningWish | undefined, b: SigningWish): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
