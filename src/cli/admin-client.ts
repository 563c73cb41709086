import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { SwitchyardError, errorText } from '../error.ts';
import { adminSocketsToTry } from '../host/admin-socket-path.ts';
import type { AdminSocketName } from '../host/admin-socket-path.ts';

/** No agent could be asked. */
export class NoAgentError extends SwitchyardError {}

/** An agent answers in milliseconds; one that has a hundred thousand rules to tell, in seconds. */
const answerWithinMs = 60_000;

/** A connection that was taken over, and what came on it with the answer. */
export interface Upgraded {
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly headers: IncomingMessage['headers'];
}

/** Asks an agent at its admin socket. */
export class AdminClient {
  readonly path: string;
  readonly #command: string;

  /** `command`: how such an agent is started. */
  constructor(path: string, command: string) {
    this.path = path;
    this.#command = command;
  }

  /** The body of an answer; rejects with what the agent says where it refuses, and with {@link NoAgentError} where there is none. */
  async get(path: string, query: Readonly<Record<string, string>> = {}): Promise<string> {
    const response = await this.stream(path, new URLSearchParams(query));
    try {
      return await readText(response);
    } catch (error) {
      throw this.#noAgent(error);
    }
  }

  /** The same piece by piece, for as long as it takes: the reader has to read it to its end, or destroy it. */
  async stream(
    path: string,
    query: URLSearchParams,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const answer = await this.#send(path, query, {}, signal);
    if ('socket' in answer && 'head' in answer) throw new Error('an upgrade that nobody asked for');
    return answer;
  }

  /** Asks for the connection itself, to speak `protocol` over it. */
  async upgrade(
    path: string,
    query: URLSearchParams,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Upgraded> {
    const answer = await this.#send(path, query, { Connection: 'Upgrade', ...headers }, signal);
    if ('head' in answer) return answer;
    answer.destroy();
    throw new SwitchyardError('source', `the agent does not hand its connection over for ${path}`);
  }

  async #send(
    path: string,
    query: URLSearchParams,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage | Upgraded> {
    const target = query.size === 0 ? path : `${path}?${query.toString()}`;
    const answer = await new Promise<IncomingMessage | Upgraded>((resolve, reject) => {
      const sent = request({
        socketPath: this.path,
        path: target,
        headers,
        timeout: answerWithinMs,
        agent: false,
        ...(signal && { signal }),
      });
      const answered = (): void => void sent.setTimeout(0);
      sent.once('response', (response) => {
        answered();
        resolve(response);
      });
      sent.once('upgrade', (response, socket, head) => {
        answered();
        resolve({ socket, head, headers: response.headers });
      });
      sent.once('timeout', () => sent.destroy(new Error(`no answer within ${answerWithinMs} ms`)));
      sent.once('error', (error) => reject(this.#noAgent(error)));
      sent.end();
    });
    if ('head' in answer || answer.statusCode === 200) return answer;
    throw refusal(path, await readText(answer), answer.headers);
  }

  #noAgent(cause: unknown): NoAgentError {
    return noAgent(this.path, this.#command, cause);
  }
}

/** Where an agent of this user is asked. */
export interface AgentPlace {
  readonly name: AdminSocketName;
  /** '': the usual places. */
  readonly given: string;
  /** How such an agent is started. */
  readonly command: string;
}

/** The first place at which one answers, with what it answered; rejects with {@link NoAgentError} where none does. */
export async function findAnswering<T>(
  { name, given, command }: AgentPlace,
  env: Readonly<Record<string, string | undefined>>,
  ask: (path: string) => Promise<T>,
): Promise<T> {
  let failure: NoAgentError | undefined;
  for (const path of given === '' ? adminSocketsToTry(name, env) : [given]) {
    try {
      return await ask(path);
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      // A socket that may not be used says more than one that is not there.
      if (failure === undefined || isAbsent(failure)) failure = error;
    }
  }
  throw failure ?? noAgent(given, command, new Error('no path is known'));
}

function isAbsent({ cause }: Error): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

function noAgent(path: string, command: string, cause: unknown): NoAgentError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const options = { cause, retryable: true };
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new NoAgentError('missing', `no agent answers at ${path}`, {
        ...options,
        hint: `start it (${command}), or name its socket by --admin-socket; in a pod, mount the host’s /run/switchyard`,
      });
    case 'EACCES':
      return new NoAgentError('missing', `the agent’s socket ${path} may not be used`, {
        ...options,
        hint: 'it is for the user that the agent runs as: run this as root',
      });
    default:
      return new NoAgentError('missing', `${path}: ${errorText(cause)}`, {
        ...options,
        hint: 'the log of the agent says more; if it hangs, so does this',
      });
  }
}

/** What the agent says; an older or newer one may not know the question. */
function refusal(path: string, body: string, headers: IncomingMessage['headers']): SwitchyardError {
  const version = String(headers['switchyard-version'] ?? '');
  const { code, message, hint } = errorOf(body);
  if (code === undefined) return new SwitchyardError('source', `the agent says: ${body.trim()}`);
  if (code === 'missing' && message.includes('expected GET')) {
    return new SwitchyardError('source', `the agent (version ${version}) does not know ${path}`, {
      hint: 'use the program of the agent’s own version',
    });
  }
  return new SwitchyardError(code === 'usage' ? 'usage' : 'source', message, {
    ...(hint !== undefined && { hint }),
  });
}

function errorOf(body: string): { code?: string; message: string; hint?: string } {
  try {
    const { error } = JSON.parse(body) as {
      error?: { code?: string; message?: string; hint?: string };
    };
    return { message: '', ...error };
  } catch {
    return { message: body };
  }
}
