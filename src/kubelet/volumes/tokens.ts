import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';

/** What a token is asked for with: `spec` of a TokenRequest. */
export interface TokenWish {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** '': the server's own. */
  readonly audience: string;
  readonly expirationSeconds: number;
  readonly pod: { readonly name: string; readonly uid: string };
}

export interface IssuedToken {
  readonly token: string;
  /** How long it is good, counted from when it was given: the server may give less or more than was asked for. */
  readonly lifeMs: number;
}

export type RequestToken = (wish: TokenWish, signal: AbortSignal) => Promise<IssuedToken>;

export interface TokensOptions {
  readonly request: RequestToken;
  readonly clock: Pick<Clock, 'now'>;
  /** Numbers in [0, 1): not all pods ask at once. */
  readonly random: () => number;
  readonly log: Log;
}

interface Kept {
  readonly uid: string;
  readonly token: string;
  readonly expiresAtMs: number;
  readonly refreshAtMs: number;
}

const longestUseMs = 24 * 3_600_000;
const usedShare = 0.8;
const jitterMs = 10_000;

/**
 * Tokens of service accounts, bound to pods (Kubernetes: Configure Service Accounts for Pods). One is used for 80 % of its life, and for 24
 * hours at most; while a new one cannot be had the old one serves for as long as it is good.
 */
export class Tokens {
  readonly #options: TokensOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #asked = new Map<string, Promise<Kept>>();

  constructor(options: TokensOptions) {
    this.#options = options;
  }

  /** Throws where there is no token that is still good. */
  async token(
    pod: Pick<Pod, 'metadata' | 'spec'>,
    { audience, expirationSeconds }: Pick<TokenWish, 'audience' | 'expirationSeconds'>,
    signal: AbortSignal,
  ): Promise<string> {
    const { clock, log } = this.#options;
    const { name, namespace, uid } = pod.metadata;
    const serviceAccount = pod.spec.serviceAccountName ?? 'default';
    const wish = { namespace, serviceAccount, audience, expirationSeconds, pod: { name, uid } };
    const key = JSON.stringify(wish);
    const kept = this.#kept.get(key);
    if (kept !== undefined && clock.now() < kept.refreshAtMs) return kept.token;
    try {
      return (await this.#ask(key, wish, signal)).token;
    } catch (error) {
      if (kept === undefined || clock.now() >= kept.expiresAtMs) throw error;
      log.warn(
        { pod: uid, serviceAccount },
        `token of ${podText(pod)} not refreshed, the old one is used on: ${errorText(error)}`,
      );
      return kept.token;
    }
  }

  /** A pod has ended: its tokens are good for nothing. */
  forget(uid: string): void {
    for (const [key, kept] of this.#kept) {
      if (kept.uid === uid) this.#kept.delete(key);
    }
  }

  async #ask(key: string, wish: TokenWish, signal: AbortSignal): Promise<Kept> {
    const asked = this.#asked.get(key) ?? this.#request(key, wish, signal);
    this.#asked.set(key, asked);
    try {
      return await asked;
    } finally {
      this.#asked.delete(key);
    }
  }

  async #request(key: string, wish: TokenWish, signal: AbortSignal): Promise<Kept> {
    const { request, clock, random } = this.#options;
    const { token, lifeMs } = await request(wish, signal);
    const nowMs = clock.now();
    const useMs = Math.min(lifeMs * usedShare, longestUseMs);
    const kept: Kept = {
      uid: wish.pod.uid,
      token,
      expiresAtMs: nowMs + lifeMs,
      refreshAtMs: nowMs + useMs - random() * jitterMs,
    };
    this.#kept.set(key, kept);
    return kept;
  }
}
