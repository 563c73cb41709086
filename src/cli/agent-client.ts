import { request } from 'node:http';
import { text as readText } from 'node:stream/consumers';
import type { FlagValues } from '../config/flag-table.ts';
import { SwitchyardError, errorText } from '../error.ts';
import { adminSocketsToTry } from '../host/admin-socket-path.ts';
import type { StatusDocument } from '../proxy/admin/status-document.ts';

/** No agent could be asked. */
export class NoAgentError extends SwitchyardError {}

/** An agent answers in milliseconds; one that has a hundred thousand rules to tell, in seconds. */
const answerWithinMs = 60_000;

/** Asks the agent at its admin socket. */
export class AgentClient {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async status(): Promise<StatusDocument> {
    return JSON.parse(await this.get('/v1/status')) as StatusDocument;
  }

  /** The body of an answer; rejects with what the agent says where it refuses, and with {@link NoAgentError} where there is none. */
  async get(path: string, query: Readonly<Record<string, string>> = {}): Promise<string> {
    const target = `${path}?${new URLSearchParams(query).toString()}`;
    const { status, body, version } = await this.#send(target);
    if (status === 200) return body;
    throw refusal(path, { body, version });
  }

  async #send(target: string): Promise<Answer> {
    const { path } = this;
    return new Promise<Answer>((resolve, reject) => {
      const sent = request(
        { socketPath: path, path: target, timeout: answerWithinMs, agent: false },
        (response) => {
          const version = String(response.headers['switchyard-version'] ?? '');
          readText(response).then(
            (body) => resolve({ status: response.statusCode ?? 0, body, version }),
            (error: unknown) => reject(noAgent(path, error)),
          );
        },
      );
      sent.once('timeout', () => sent.destroy(new Error(`no answer within ${answerWithinMs} ms`)));
      sent.once('error', (error) => reject(noAgent(path, error)));
      sent.end();
    });
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly version: string;
}

/** The agent that flags or habit name: the first place at which one answers. */
export async function findAgent(
  flags: FlagValues,
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ readonly client: AgentClient; readonly status: StatusDocument }> {
  const given = flags.text('adminSocket');
  const paths = given === '' ? adminSocketsToTry('admin', env) : [given];
  let failure: NoAgentError | undefined;
  for (const path of paths) {
    const client = new AgentClient(path);
    try {
      return { client, status: await client.status() };
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      // A socket that may not be used says more than one that is not there.
      if (failure === undefined || isAbsent(failure)) failure = error;
    }
  }
  throw failure ?? noAgent(given, new Error('no path is known'));
}

function isAbsent({ cause }: Error): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

function noAgent(path: string, cause: unknown): NoAgentError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const options = { cause, retryable: true };
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new NoAgentError('missing', `no agent answers at ${path}`, {
        ...options,
        hint: 'start it (switchyard proxy), or name its socket by --admin-socket; in a pod, mount the host’s /run/switchyard',
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
function refusal(
  path: string,
  { body, version }: Pick<Answer, 'body' | 'version'>,
): SwitchyardError {
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
