import { text } from 'node:stream/consumers';

import { failureOfResponse } from './api-failure.ts';
import type { ApiClient, ApiResponse, ApiWriter } from './api-client.ts';

/** An answer that was read to its end. */
export interface ApiAnswer {
  readonly status: number;
  /** `Date` of the answer, in milliseconds since the epoch. */
  readonly dateMs: number | undefined;
  /** The body of a success, where it is JSON. */
  readonly value: unknown;
  /** Of any other answer: what was said, and what to do. */
  readonly reason: string;
}

/** What is asked for, as a rule of RBAC names it. */
export interface ApiSubject {
  readonly group: string;
  readonly resource: string;
}

/** The path of a resource in its version v1, all namespaces. */
export function apiPath({ group, resource }: ApiSubject): string {
  return group === '' ? `/api/v1/${resource}` : `/apis/${group}/v1/${resource}`;
}

/** GETs a few bytes; no list of thousands of objects is meant to go this way. */
export async function getAnswer(
  client: ApiClient,
  path: string,
  query: Readonly<Record<string, string>>,
  subject: ApiSubject,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  return read(await client.get(path, query, signal), subject, 'list');
}

/** Creates an object, such as a review, of which the server keeps nothing. */
export async function createAnswer(
  client: ApiWriter,
  path: string,
  value: unknown,
  subject: ApiSubject,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  return read(await client.send('create', path, value, signal), subject, 'create');
}

async function read(
  response: ApiResponse,
  { group, resource }: ApiSubject,
  verb: 'list' | 'create',
): Promise<ApiAnswer> {
  const { status, headers, body } = response;
  const parsedMs = Date.parse(headers['date'] ?? '');
  const dateMs = Number.isNaN(parsedMs) ? undefined : parsedMs;
  if (status >= 200 && status < 300) {
    return { status, dateMs, value: parsed(await text(body)), reason: '' };
  }
  const apiVersion = group === '' ? 'v1' : `${group}/v1`;
  const { reason } = await failureOfResponse(response, verb, { apiVersion, resource }, 0);
  return { status, dateMs, value: undefined, reason };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
