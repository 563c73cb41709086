import type { Clock } from '../clock.ts';
import { SwitchyardError, errorText } from '../error.ts';
import { apiPath, createAnswer, getAnswer } from '../informer/api-answer.ts';
import type { ApiAnswer } from '../informer/api-answer.ts';
import type { ApiClient, ApiWriter } from '../informer/api-client.ts';
import { anyNodeKind } from '../services/node-kind.ts';
import { apiNeeds } from './api.ts';
import type { ApiNeed } from './api.ts';
import type { AccessReading, ApiReading, ListReading, NodeReading } from './readings.ts';

/** How the API server is asked. */
export interface ApiLook {
  readonly client: ApiClient & ApiWriter;
  readonly clock: Clock;
  readonly nodeName: string;
  /** Ends all of it. */
  readonly signal: AbortSignal;
}

const reviews = { group: 'authorization.k8s.io', resource: 'selfsubjectaccessreviews' } as const;
const nodes = { group: '', resource: 'nodes' } as const;
/** So many Nodes are enough to guess what was meant. */
const someNodes = '500';

/** Asks what the agent would ask, for one object each, and what it may; the server keeps nothing of it. */
export async function readApi(look: ApiLook): Promise<ApiReading> {
  const { client, clock, signal } = look;
  const server = withoutPassword(client.server);
  const startMs = clock.monotonic();
  let version: ApiAnswer;
  try {
    version = await getAnswer(client, '/version', {}, { group: '', resource: 'version' }, signal);
  } catch (error) {
    const problem = signal.aborted ? 'no answer in time' : errorText(error);
    return { kind: 'silent', server, problem: problem.replaceAll(client.server, server) };
  }
  const roundTripMs = clock.monotonic() - startMs;
  // The date has whole seconds, and was written some time while we waited.
  const ourMs = clock.now() - roundTripMs / 2;
  const aheadMs = version.dateMs === undefined ? undefined : ourMs - (version.dateMs + 500);
  const [listed, access] = await Promise.all([
    Promise.all(
      apiNeeds
        .filter(({ verbs }) => verbs.includes('list'))
        .map(async (need) => listOne(need, look)),
    ),
    Promise.all(
      apiNeeds.flatMap((need) => need.verbs.map(async (verb) => review(need, verb, look))),
    ),
  ]);
  const own = listed.find(({ need }) => need.isOwnNode)?.answer;
  return {
    kind: 'answered',
    server,
    status: version.status,
    version: textField(version.value, 'gitVersion'),
    roundTripMs,
    aheadMs,
    access,
    lists: listed.map(({ need, answer }): ListReading => ({
      need: need.id,
      status: answer.status,
      reason: answer.reason,
    })),
    node:
      own === undefined
        ? { kind: 'unread', why: 'it was not asked for' }
        : await readNode(own, look),
  };
}

interface Listed {
  readonly need: ApiNeed;
  readonly answer: ApiAnswer;
}

/** As the agent does, but one object at most. */
async function listOne(need: ApiNeed, { client, nodeName, signal }: ApiLook): Promise<Listed> {
  const own = need.isOwnNode ? { fieldSelector: `metadata.name=${nodeName}` } : {};
  try {
    const query = { limit: '1', ...own };
    return { need, answer: await getAnswer(client, apiPath(need), query, need, signal) };
  } catch (error) {
    return { need, answer: unanswered(need, error) };
  }
}

function unanswered({ resource }: { readonly resource: string }, error: unknown): ApiAnswer {
  const reason = `cannot list ${resource}: ${errorText(error)}`;
  return { status: 0, dateMs: undefined, value: undefined, reason };
}

async function review(
  { id: need, group, resource, isOwnNode }: ApiNeed,
  verb: string,
  { client, nodeName, signal }: ApiLook,
): Promise<AccessReading> {
  const name = isOwnNode ? { name: nodeName } : {};
  const value = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: { verb, group, resource, ...name } },
  };
  const unknown = (reason: string): AccessReading => ({ need, verb, answer: 'unknown', reason });
  try {
    const answer = await createAnswer(client, apiPath(reviews), value, reviews, signal);
    const status = field(answer.value, 'status');
    const allowed = field(status, 'allowed');
    if (typeof allowed !== 'boolean') return unknown(answer.reason || 'the review has no answer');
    const reason = textField(status, 'reason');
    return { need, verb, answer: allowed ? 'allowed' : 'denied', reason };
  } catch (error) {
    return unknown(error instanceof SwitchyardError ? error.message : errorText(error));
  }
}

async function readNode(own: ApiAnswer, { client, signal }: ApiLook): Promise<NodeReading> {
  if (own.reason !== '') return { kind: 'unread', why: own.reason };
  const [item] = itemsOf(own.value);
  if (item !== undefined) {
    const { object } = anyNodeKind.slim(item);
    return object === undefined
      ? { kind: 'unread', why: 'its Node cannot be read' }
      : { kind: 'found', node: object };
  }
  const others = await getAnswer(client, apiPath(nodes), { limit: someNodes }, nodes, signal).catch(
    (error: unknown) => unanswered(nodes, error),
  );
  const names = itemsOf(others.value).map((each) => textField(field(each, 'metadata'), 'name'));
  return { kind: 'absent', others: names.filter((name) => name !== '') };
}

function itemsOf(list: unknown): readonly unknown[] {
  const items = field(list, 'items');
  return Array.isArray(items) ? (items as readonly unknown[]) : [];
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function textField(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === 'string' ? found : '';
}

/** A URL may carry a name and a password. */
export function withoutPassword(server: string): string {
  const url = URL.parse(server);
  if (url === null || (url.username === '' && url.password === '')) return server;
  url.username = '';
  url.password = '';
  return url.href.replace(/\/$/, '');
}
