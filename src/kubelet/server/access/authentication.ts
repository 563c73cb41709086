import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { PeerCertificate } from 'node:tls';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../../clock.ts';
import { SwitchyardError } from '../../../error.ts';
import { createAnswer } from '../../../informer/api-answer.ts';
import type { ApiWriter } from '../../../informer/api-client.ts';
import { ExpiringCache } from './expiring-cache.ts';

/** Who asks, as Kubernetes knows users. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface AuthenticationOptions {
  /** A user for whoever shows nothing. */
  readonly anonymous: boolean;
  /** Bearer tokens are looked up at the API server; undefined: none is accepted. */
  readonly webhook?: { readonly api: ApiWriter; readonly cacheTtlMs: number };
  readonly clock: Clock;
}

const reviewMs = 10_000;
/** Whoever comes with a token has it looked up: so many at a time, for strangers have as many tokens as they like. */
const mostReviews = 50;
/** Of these by one address, so that nobody has all of them. */
const mostReviewsOfOne = 10;
const subject = { group: 'authentication.k8s.io', resource: 'tokenreviews' };
const everyone = 'system:authenticated';
const anonymousUser: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** Too many tokens are being looked up already. */
export class TooManyReviewsError extends SwitchyardError {
  constructor(address?: string) {
    const text =
      address === undefined
        ? `${mostReviews} tokens are being looked up at the API server`
        : `${mostReviewsOfOne} tokens of ${address} are being looked up at the API server`;
    super('source', text, { retryable: true });
  }
}

/** Whether a user is whoever shows nothing. */
export function isAnonymous({ groups }: User): boolean {
  return groups.includes('system:unauthenticated');
}

/** Who sends a request (Kubernetes: Kubelet authentication/authorization): by the certificate of the connection, or a bearer token. */
export class Authentication {
  readonly #options: AuthenticationOptions;
  readonly #tokens: ExpiringCache<User | undefined>;
  /** Address of whoever came with the token, of each look-up now. */
  readonly #reviews: string[] = [];

  constructor(options: AuthenticationOptions) {
    this.#options = options;
    this.#tokens = new ExpiringCache(options.clock);
  }

  /** undefined: nobody that is known. Throws where the API server could not be asked, {@link TooManyReviewsError} where it is asked too much. */
  async user(request: IncomingMessage): Promise<User | undefined> {
    const byCertificate = certifiedUser(request, this.#options.clock.now());
    if (byCertificate !== undefined) return byCertificate;
    const token = bearerToken(request);
    const { webhook, anonymous } = this.#options;
    if (token !== undefined) return webhook && (await this.#byToken(token, request, webhook));
    return anonymous ? anonymousUser : undefined;
  }

  async #byToken(
    token: string,
    { socket }: IncomingMessage,
    { api, cacheTtlMs }: NonNullable<AuthenticationOptions['webhook']>,
  ): Promise<User | undefined> {
    const key = createHash('sha256').update(token).digest('base64');
    const review = async (): Promise<User | undefined> => reviewToken(api, token);
    return this.#tokens.get(key, async (last) => ({
      // Whose token was good a moment ago waits for no stranger, who may come from the same address: that of a node, say.
      value: await (last === undefined
        ? this.#inRoom(socket.remoteAddress ?? '', review)
        : review()),
      ttlMs: cacheTtlMs,
    }));
  }

  async #inRoom(
    address: string,
    review: () => Promise<User | undefined>,
  ): Promise<User | undefined> {
    if (this.#reviews.length >= mostReviews) throw new TooManyReviewsError();
    const ofOne = this.#reviews.filter((each) => each === address).length;
    if (ofOne >= mostReviewsOfOne) throw new TooManyReviewsError(address);
    this.#reviews.push(address);
    try {
      return await review();
    } finally {
      this.#reviews.splice(this.#reviews.indexOf(address), 1);
    }
  }
}

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

async function reviewToken(api: ApiWriter, token: string): Promise<User | undefined> {
  const review = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token },
  };
  const path = '/apis/authentication.k8s.io/v1/tokenreviews';
  const answer = await createAnswer(api, path, review, subject, AbortSignal.timeout(reviewMs));
  if (answer.value === undefined) throw new Error(answer.reason);
  const { status } = answer.value as TokenReview;
  const user = status?.user;
  if (status?.authenticated !== true || user?.username === undefined) return undefined;
  return {
    name: user.username,
    groups: user.groups ?? [],
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    ...(user.extra === undefined ? {} : { extra: user.extra }),
  };
}

function bearerToken({ headers }: IncomingMessage): string | undefined {
  const [scheme, token] = (headers.authorization ?? '').split(' ', 2);
  return scheme?.toLowerCase() === 'bearer' && token !== undefined && token !== ''
    ? token
    : undefined;
}

/** The listener has checked the certificate against the CA; what can change on an open connection is its age. */
function certifiedUser({ socket }: IncomingMessage, nowMs: number): User | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject: names, valid_to: until } =
    socket.getPeerCertificate() as Partial<PeerCertificate>;
  const name = first(names?.CN);
  if (name === undefined || until === undefined || Date.parse(until) < nowMs) return undefined;
  const organizations = names?.O ?? [];
  const groups = typeof organizations === 'string' ? [organizations] : organizations;
  return { name, groups: [...groups, everyone] };
}

function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0];
}
