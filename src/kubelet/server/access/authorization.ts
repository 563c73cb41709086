import type { Clock } from '../../../clock.ts';
import { createAnswer } from '../../../informer/api-answer.ts';
import type { ApiWriter } from '../../../informer/api-client.ts';
import type { User } from './authentication.ts';
import { ExpiringCache } from './expiring-cache.ts';

export type AuthorizationOptions =
  | { readonly mode: 'AlwaysAllow' }
  | {
      readonly mode: 'Webhook';
      readonly api: ApiWriter;
      readonly allowTtlMs: number;
      readonly denyTtlMs: number;
      readonly nodeName: string;
      readonly clock: Clock;
    };

export type Decision =
  | { readonly kind: 'allowed' }
  /** What the client is told. */
  | { readonly kind: 'denied'; readonly text: string };

const reviewMs = 10_000;
const subject = { group: 'authorization.k8s.io', resource: 'subjectaccessreviews' };

const verbs: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  HEAD: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** By the path's first part; the rest is `proxy` (Kubernetes: Kubelet authentication/authorization). */
const subresources: Readonly<Record<string, readonly string[]>> = {
  stats: ['stats'],
  metrics: ['metrics'],
  logs: ['log'],
  checkpoint: ['checkpoint'],
  statusz: ['statusz'],
  flagz: ['configz'],
  pods: ['pods', 'proxy'],
  runningpods: ['pods', 'proxy'],
  healthz: ['healthz', 'proxy'],
  configz: ['configz', 'proxy'],
};

/**
 * What runs something in a pod, or reaches what listens in it. An upgrade to a WebSocket can only be a GET, and whoever may read the node
 * is not meant by that to run commands on it: the verb is `create` whatever the method.
 */
const acting = new Set(['exec', 'attach', 'run', 'portForward']);

/** What a request needs: the verb on any of these subresources of the node is enough. */
export interface NeededAccess {
  readonly verb: string;
  readonly subresources: readonly string[];
}

/** By a request's method and path. */
export function neededAccess(method: string, path: string): NeededAccess {
  const first = path.split('/', 2)[1] ?? '';
  return {
    verb: acting.has(first) ? 'create' : (verbs[method] ?? ''),
    subresources: subresources[first] ?? ['proxy'],
  };
}

/** Whether a user may do what a request asks for. */
export class Authorization {
  readonly #options: AuthorizationOptions;
  readonly #kept: ExpiringCache<boolean> | undefined;

  constructor(options: AuthorizationOptions) {
    this.#options = options;
    if (options.mode === 'Webhook') this.#kept = new ExpiringCache(options.clock);
  }

  /** Throws where the API server could not be asked. */
  async decide(user: User, method: string, path: string): Promise<Decision> {
    const { verb, subresources: needed } = neededAccess(method, path);
    for (const subresource of needed) {
      if (await this.#isAllowed(user, verb, subresource)) return { kind: 'allowed' };
    }
    const what = `verb=${verb}, resource=nodes, subresource(s)=[${needed.join(' ')}]`;
    return { kind: 'denied', text: `Forbidden (user=${user.name}, ${what})` };
  }

  async #isAllowed(user: User, verb: string, subresource: string): Promise<boolean> {
    const options = this.#options;
    if (options.mode === 'AlwaysAllow' || this.#kept === undefined) return true;
    const { api, nodeName, allowTtlMs, denyTtlMs } = options;
    const attributes = { verb, version: 'v1', resource: 'nodes', subresource, name: nodeName };
    return this.#kept.get(JSON.stringify([user, attributes]), async () => {
      const value = await reviewAccess(api, user, attributes);
      return { value, ttlMs: value ? allowTtlMs : denyTtlMs };
    });
  }
}

async function reviewAccess(
  api: ApiWriter,
  { name, uid, groups, extra }: User,
  resourceAttributes: object,
): Promise<boolean> {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user: name, uid, groups, extra, resourceAttributes },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  const answer = await createAnswer(api, path, review, subject, AbortSignal.timeout(reviewMs));
  if (answer.value === undefined) throw new Error(answer.reason);
  const { status } = answer.value as {
    readonly status?: { readonly allowed?: boolean; readonly denied?: boolean };
  };
  return status?.allowed === true && status.denied !== true;
}
