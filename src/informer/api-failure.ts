import { Buffer } from 'node:buffer';

import { errorText } from '../error.ts';
import type { ApiResponse } from './api-client.ts';
import type { Kind, KubeObject } from './kind.ts';
import { wireMediaType, wireStatusMessage } from './wire-list.ts';

/** What a request is for, as a rule of RBAC names it. */
export type Verb = 'get' | 'list' | 'watch' | 'create' | 'patch' | 'update' | 'delete';
type Resource = Pick<Kind<KubeObject>, 'apiVersion' | 'resource'>;

/** Why a request came to nothing, and what to do next. */
export interface ApiFailure {
  readonly reason: string;
  /** HTTP status, or the code of an ERROR event; undefined where nobody answered. */
  readonly status: number | undefined;
  /** The server's own wish (429, 503), at most {@link LONGEST_RETRY_MS}. */
  readonly retryAfterMs: number | undefined;
  /** The position in the stream of changes is lost: only a list helps. */
  readonly relist: boolean;
}

/** A server, or a proxy before it, that wishes for a day must not blind the node for a day. */
const LONGEST_RETRY_MS = 60_000;
/** No more of an error answer is read. */
const MAX_ERROR_BYTES = 64 * 1024;
/** What goes together: who may do one of them without the other cannot work. */
const needed: Readonly<Record<Verb, string>> = {
  get: 'get',
  list: 'list, watch',
  watch: 'list, watch',
  create: 'create, patch',
  patch: 'create, patch',
  update: 'get, update',
  delete: 'delete',
};
/** Statuses that say nothing about the request's resourceVersion. */
const POSITION_KEPT = new Set([401, 403, 408, 429]);

/** An answer other than 200. */
export async function failureOfResponse(
  response: ApiResponse,
  verb: Verb,
  kind: Resource,
  nowMs: number,
): Promise<ApiFailure> {
  const { status } = response;
  const body = await readStart(response);
  const isWire = response.headers['content-type']?.startsWith(wireMediaType) === true;
  const message = isWire ? wireStatusMessage(body) : statusMessage(body.toString('utf8'));
  const said = message === '' ? `answered ${status}` : `answered ${status}: ${message}`;
  return {
    reason: `cannot ${verb} ${kind.resource}: ${said}${accessHint(status, verb, kind)}`,
    status,
    retryAfterMs: retryAfter(response.headers['retry-after'], sentAtMs(response, nowMs)),
    relist: positionLost(status),
  };
}

/** An ERROR event of a watch: its object is a Status. */
export function failureOfStatus(status: unknown, kind: Kind<KubeObject>): ApiFailure {
  const fields = (typeof status === 'object' && status !== null ? status : {}) as {
    readonly code?: unknown;
    readonly message?: unknown;
    readonly details?: { readonly retryAfterSeconds?: unknown } | null;
  };
  const code = typeof fields.code === 'number' ? fields.code : undefined;
  const seconds = fields.details?.retryAfterSeconds;
  const message = typeof fields.message === 'string' ? fields.message : 'without a message';
  return {
    reason: `watch of ${kind.resource} ended with an error: ${message}`,
    status: code,
    retryAfterMs: typeof seconds === 'number' ? retryAfterMs(seconds * 1000) : undefined,
    // whatever it was, the server gave this stream up
    relist: true,
  };
}

/** No answer, or one that broke off. */
export function failureOfError(error: unknown, verb: Verb, kind: Resource): ApiFailure {
  return {
    reason: `cannot ${verb} ${kind.resource}: ${errorText(error)}`,
    status: undefined,
    retryAfterMs: undefined,
    relist: false,
  };
}

function positionLost(status: number): boolean {
  return status >= 400 && status < 500 && !POSITION_KEPT.has(status);
}

function accessHint(status: number, verb: Verb, kind: Resource): string {
  if (status === 401) return '; the credentials are read again';
  if (status !== 403) return '';
  if (kind.resource.startsWith('namespaces/')) {
    return '; the node authoriser lets a node read what its pods refer to, as long as they do';
  }
  const group = kind.apiVersion.includes('/') ? kind.apiVersion.split('/')[0] : '""';
  const verbs = needed[verb];
  return `; its ClusterRole needs the rule {apiGroups: [${group}], resources: [${kind.resource}], verbs: [${verbs}]}`;
}

/** By the server's own date: ours may be wrong. */
function sentAtMs(response: ApiResponse, nowMs: number): number {
  const sentMs = Date.parse(response.headers['date'] ?? '');
  return Number.isNaN(sentMs) ? nowMs : sentMs;
}

/** Seconds or an HTTP date. */
function retryAfter(header: string | undefined, sentMs: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - sentMs;
  return retryAfterMs(ms);
}

function retryAfterMs(wishedMs: number): number | undefined {
  return wishedMs > 0 ? Math.min(wishedMs, LONGEST_RETRY_MS) : undefined;
}

async function readStart(response: ApiResponse): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // a break destroys the stream; so does the caller's signal when the peer stops in the middle
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_ERROR_BYTES) break;
  }
  return Buffer.concat(chunks);
}

/** The `message` of a Status object; the text itself where a proxy answered. */
function statusMessage(body: string): string {
  try {
    const status: unknown = JSON.parse(body);
    if (typeof status === 'object' && status !== null && 'message' in status) {
      return String(status.message);
    }
  } catch {
    // no JSON
  }
  return body.trim().slice(0, 200);
}
