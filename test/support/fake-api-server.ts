import { once } from 'node:events';
import { createServer, ServerResponse, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { merged } from './merge-patch.ts';

/** An object as the API has it. */
export interface RawObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string };
  readonly [field: string]: unknown;
}

/** What goes wrong with the next request, or the next `times` ones, that it fits. */
export type Fault = {
  readonly on: 'get' | 'list' | 'watch' | 'create' | 'patch' | 'update' | 'delete';
  /** `/api/v1/services`; any resource without. */
  readonly path?: string;
  /** Only list requests with a continue token. */
  readonly continued?: boolean;
  /** Default 1. */
  readonly times?: number;
} & (
  | { readonly type: 'status'; readonly status: number; readonly retryAfter?: string }
  /** An answer that is not JSON. */
  | { readonly type: 'garbage' }
  /** The connection is cut without an answer; in a watch, after its headers. */
  | { readonly type: 'reset' }
  /** Headers, then silence for ever. */
  | { readonly type: 'freeze' }
  /** The answer waits. */
  | { readonly type: 'hold'; readonly until: Promise<void> }
  /** The watch says this first. */
  | { readonly type: 'events'; readonly events: readonly object[] }
  /** The watch ends in an orderly way, at once. */
  | { readonly type: 'end' }
);

/** A request as it came. */
export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  /** Undefined where there is none. */
  readonly body: unknown;
}

interface Change {
  readonly version: number;
  readonly path: string;
  readonly before: RawObject | undefined;
  readonly after: RawObject | undefined;
}

interface Watcher {
  /** As asked for. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly response: ServerResponse;
  frozen: boolean;
}

/** Starts a server on a loopback port of its own choice. */
export async function startFakeApiServer(): Promise<FakeApiServer> {
  const server = new FakeApiServer();
  await server.up();
  return server;
}

/**
 * Enough of the Kubernetes API to get, list, watch, create, merge, replace and delete, over real sockets, and to go wrong on request. Paths
 * are those of all namespaces, `/api/v1/services`, or of one: then it is about what is in there. A subresource (`…/status`) is the
 * object itself. A pod with `deletionGracePeriodSeconds` is deleted in two steps, as the real one does.
 */
export class FakeApiServer {
  readonly requests: FakeRequest[] = [];
  /** Cuts the connection of a request before it is done, or after it: it is never answered. */
  cut: ((request: FakeRequest) => 'before' | 'after' | undefined) | undefined;
  /** Answers TokenRequests with a token. */
  givesTokens = false;
  readonly #objects = new Map<string, Map<string, RawObject>>();
  readonly #faults: { readonly fault: Fault; left: number }[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => {
    void this.#answer(request, response);
  });
  #history: Change[] = [];
  #version = 100;
  #oldest = 0;
  #token: string | undefined;
  #port = 0;

  constructor() {
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The version of the last change. */
  get version(): number {
    return this.#version;
  }

  /** Listens, on the port that it had before if any. */
  async up(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Cuts all connections and refuses new ones, until {@link up}. */
  async down(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#watchers.clear();
    await closed;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.down();
  }

  /** Creates or changes an object; gives it as stored. */
  put(at: string, given: RawObject): RawObject {
    const { path, namespace } = resourceAt(at);
    const own = namespace === undefined ? {} : { namespace };
    const object: RawObject = { ...given, metadata: { ...own, ...given.metadata } };
    const objects = this.#objects.get(path) ?? new Map<string, RawObject>();
    this.#objects.set(path, objects);
    const key = rawKey(object);
    const before = objects.get(key);
    const version = ++this.#version;
    const uid = object.metadata['uid'] ?? before?.metadata['uid'] ?? `uid-${version}`;
    const metadata = { ...object.metadata, uid, resourceVersion: String(version) };
    const after: RawObject = { ...object, metadata };
    objects.set(key, after);
    this.#record({ version, path, before, after });
    return after;
  }

  /** Deletes an object by `namespace/name`, or `name` where it has no namespace. */
  remove(path: string, key: string): void {
    const before = this.#objects.get(path)?.get(key);
    if (before === undefined) throw new Error(`no object ${key} in ${path}`);
    this.#objects.get(path)?.delete(key);
    this.#record({ version: ++this.#version, path, before, after: undefined });
  }

  /** Faults are used up in the order in which they were injected. */
  inject(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  /** From now on requests without this bearer token are answered 401. */
  requireToken(token: string | undefined): void {
    this.#token = token;
  }

  /** Forgets all changes until now: watches from before are answered 410. */
  compact(): void {
    this.#version++;
    this.#oldest = this.#version;
    this.#history = [];
  }

  /** Open watches of a resource. */
  watchers(path: string): number {
    return this.#watching(path).length;
  }

  /** Says something to all open watches, whatever is stored: one event. */
  emit(path: string, type: string, object: unknown): void {
    this.emitRaw(path, `${JSON.stringify({ type, object })}\n`);
  }

  /** Bytes as they are, to all open watches. */
  emitRaw(path: string, bytes: string | Uint8Array): void {
    for (const watcher of this.#watching(path)) {
      if (!watcher.frozen) watcher.response.write(bytes);
    }
  }

  /** Tells all watches how far they are. */
  bookmark(path: string, version = ++this.#version): void {
    this.emit(path, 'BOOKMARK', { metadata: { resourceVersion: String(version) } });
  }

  /** Ends all watches of a resource in an orderly way. */
  endWatches(path: string): void {
    for (const watcher of this.#watching(path)) watcher.response.end();
  }

  /** Open watches say nothing more, and their connections stay. */
  freezeWatches(path: string): void {
    for (const watcher of this.#watching(path)) watcher.frozen = true;
  }

  /** They speak again; what came meanwhile is lost to them. */
  thawWatches(path: string): void {
    for (const watcher of this.#watching(path)) watcher.frozen = false;
  }

  /** Sends the start of an event to all watches, and cuts their connections when it is out. */
  async cutMidLine(path: string, bytes: string | Uint8Array): Promise<void> {
    await Promise.all(
      this.#watching(path).map(async ({ response }) => {
        await new Promise<void>((resolve) => {
          response.write(bytes, () => resolve());
        });
        response.destroy();
      }),
    );
  }

  #watching(path: string): readonly Watcher[] {
    return [...this.#watchers].filter((watcher) => watcher.path === path);
  }

  #record(change: Change): void {
    this.#history.push(change);
    for (const watcher of this.#watchers) {
      if (resourceAt(watcher.path).path === change.path) tell(watcher, change);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const path = url.pathname;
    const query = Object.fromEntries(url.searchParams);
    const { method = 'GET', headers } = request;
    const body = method === 'GET' ? undefined : await bodyOf(request);
    const asked = { method, path, query, headers, body };
    this.requests.push(asked);
    const cut = this.cut?.(asked);
    if (cut !== 'before') await this.#handle(asked, cut ? new ServerResponse(request) : response);
    if (cut) response.destroy();
  }

  async #handle(
    { method, path, query, headers, body }: FakeRequest,
    response: ServerResponse,
  ): Promise<void> {
    if (this.#token !== undefined && headers.authorization !== `Bearer ${this.#token}`) {
      sendStatus(response, 401);
      return;
    }
    const place = resourceAt(path);
    const fault = this.#takeFault(path, verbOf(method, query, place), query);
    if (fault?.type === 'hold') await fault.until;
    else if (fault !== undefined && this.#goWrong(fault, response)) return;
    if (method === 'POST') this.#create(path, body as RawObject, response);
    else if (method !== 'GET') this.#change(method, place, headers, body, response);
    else this.#read(path, query, response, fault);
  }

  #read(
    path: string,
    query: Readonly<Record<string, string>>,
    response: ServerResponse,
    fault: Fault | undefined,
  ): void {
    const place = resourceAt(path);
    if (query['watch'] === 'true') this.#watch(path, query, response, fault);
    else if (place.key !== undefined) this.#get(place, response);
    else this.#list(path, query, response);
  }

  #takeFault(
    path: string,
    on: Fault['on'],
    query: Readonly<Record<string, string>>,
  ): Fault | undefined {
    const entry = this.#faults.find(({ fault, left }) => {
      const fits = fault.on === on && (fault.path ?? path) === path;
      return left > 0 && fits && (fault.continued !== true || query['continue'] !== undefined);
    });
    if (entry !== undefined) entry.left--;
    return entry?.fault;
  }

  /** Says whether that was all. */
  #goWrong(fault: Fault, response: ServerResponse): boolean {
    switch (fault.type) {
      case 'status':
        sendStatus(response, fault.status, fault.retryAfter);
        return true;
      case 'garbage':
        response.end('<html>{');
        return true;
      case 'reset':
        if (fault.on === 'watch') response.flushHeaders();
        response.destroy();
        return true;
      case 'freeze':
        response.flushHeaders();
        return true;
      case 'hold':
      case 'events':
      case 'end':
        break;
    }
    return false;
  }

  /** Objects below a path, as stored. */
  objects(at: string): readonly RawObject[] {
    const { path, namespace } = resourceAt(at);
    const objects = [...(this.#objects.get(path)?.values() ?? [])];
    return objects.filter(({ metadata }) => isIn(namespace, metadata));
  }

  /** The object at a path of its own, as stored. */
  object(at: string): RawObject | undefined {
    const { path, key } = resourceAt(at);
    return this.#objects.get(path)?.get(key ?? '');
  }

  #create(at: string, given: RawObject, response: ServerResponse): void {
    const { path, namespace, key } = resourceAt(at);
    // a subresource of another object, such as a token, is nothing that is kept
    if (key !== undefined) {
      const token = { status: { token: `token-${++this.#version}` } };
      const made = this.givesTokens && at.endsWith('/token') ? { ...given, ...token } : given;
      response.writeHead(201).end(JSON.stringify(made));
      return;
    }
    const metadata = namespace === undefined ? given.metadata : { namespace, ...given.metadata };
    const object = { ...given, metadata };
    if (this.#objects.get(path)?.has(rawKey(object)) === true) sendStatus(response, 409);
    else response.writeHead(201).end(JSON.stringify(this.put(path, object)));
  }

  #get({ path, key = '' }: Place, response: ServerResponse): void {
    const object = this.#objects.get(path)?.get(key);
    if (object === undefined) sendStatus(response, 404);
    else response.end(JSON.stringify(object));
  }

  #change(
    method: string,
    { path, key = '' }: Place,
    headers: IncomingMessage['headers'],
    body: unknown,
    response: ServerResponse,
  ): void {
    const before = this.#objects.get(path)?.get(key);
    if (before === undefined) sendStatus(response, 404);
    else if (method === 'DELETE') this.#delete(path, key, before, body, response);
    else {
      const { metadata } = body as RawObject;
      if (isConflict(before, metadata)) sendStatus(response, 409);
      else response.end(JSON.stringify(this.put(path, changed(method, headers, before, body))));
    }
  }

  #delete(
    path: string,
    key: string,
    before: RawObject,
    body: unknown,
    response: ServerResponse,
  ): void {
    const options = (body ?? {}) as {
      readonly gracePeriodSeconds?: number;
      readonly preconditions?: { readonly uid?: string };
    };
    if (isConflict(before, options.preconditions)) {
      sendStatus(response, 409);
      return;
    }
    const seconds = options.gracePeriodSeconds ?? (path === '/api/v1/pods' ? 30 : 0);
    if (seconds === 0) this.remove(path, key);
    else {
      const deletionTimestamp = '2026-01-01T00:00:00Z';
      const deletion = { deletionTimestamp, deletionGracePeriodSeconds: seconds };
      this.put(path, { ...before, metadata: { ...before.metadata, ...deletion } });
    }
    response.end(JSON.stringify(before));
  }

  #list(path: string, query: Readonly<Record<string, string>>, response: ServerResponse): void {
    const objects = this.objects(path).filter((object) => isSelected(object, query));
    const start = Number(query['continue'] ?? 0);
    const limit = Number(query['limit'] ?? objects.length);
    const more = start + limit < objects.length;
    const items = objects.slice(start, start + limit);
    const metadata = {
      resourceVersion: String(this.#version),
      ...(more ? { continue: String(start + limit) } : {}),
    };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ kind: 'List', apiVersion: 'v1', metadata, items }));
  }

  #watch(
    path: string,
    query: Readonly<Record<string, string>>,
    response: ServerResponse,
    fault: Fault | undefined,
  ): void {
    const from = Number(query['resourceVersion'] ?? 0);
    response.setHeader('content-type', 'application/json');
    response.flushHeaders();
    if (from < this.#oldest) {
      const expired = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' };
      response.end(`${JSON.stringify({ type: 'ERROR', object: expired })}\n`);
      return;
    }
    if (fault?.type === 'end') {
      response.end();
      return;
    }
    const watcher: Watcher = { path, query, response, frozen: false };
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
    if (fault?.type === 'events') {
      for (const event of fault.events) response.write(`${JSON.stringify(event)}\n`);
    }
    for (const change of this.#history) {
      if (change.path === resourceAt(path).path && change.version > from) tell(watcher, change);
    }
  }
}

function verbOf(
  method: string,
  query: Readonly<Record<string, string>>,
  { key }: Place,
): Fault['on'] {
  if (method === 'POST') return 'create';
  if (method === 'PATCH') return 'patch';
  if (method === 'PUT') return 'update';
  if (method === 'DELETE') return 'delete';
  if (query['watch'] === 'true') return 'watch';
  return key === undefined ? 'list' : 'get';
}

/** What a path is about. */
interface Place {
  /** Of the resource in all namespaces. */
  readonly path: string;
  readonly namespace: string | undefined;
  /** `namespace/name`, or `name`; undefined: the resource as a whole. */
  readonly key: string | undefined;
}

/** Reads `/api/v1/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE` and the shorter ones. */
function resourceAt(path: string): Place {
  const [, base, rest = ''] = /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)\/(.+)$/.exec(path) ?? [];
  if (base === undefined) return { path, namespace: undefined, key: undefined };
  const parts = rest.split('/').map(decodeURIComponent);
  const isInNamespace = parts[0] === 'namespaces' && parts.length > 2;
  const namespace = isInNamespace ? parts[1] : undefined;
  const [resource = '', name] = isInNamespace ? parts.slice(2) : parts;
  const key = name === undefined || namespace === undefined ? name : `${namespace}/${name}`;
  return { path: `${base}/${resource}`, namespace, key };
}

function isIn(namespace: string | undefined, metadata: RawObject['metadata']): boolean {
  return namespace === undefined || metadata['namespace'] === namespace;
}

/** Whether a write means another object of this name, or another version of it. */
function isConflict(
  { metadata }: RawObject,
  expected: Readonly<Record<string, unknown>> | undefined,
): boolean {
  const { uid, resourceVersion } = { uid: undefined, resourceVersion: undefined, ...expected };
  return (
    (uid !== undefined && uid !== metadata['uid']) ||
    (resourceVersion !== undefined && resourceVersion !== metadata['resourceVersion'])
  );
}

function changed(
  method: string,
  headers: IncomingMessage['headers'],
  before: RawObject,
  body: unknown,
): RawObject {
  if (method === 'PUT') return body as RawObject;
  const isStrategic = headers['content-type'] === 'application/strategic-merge-patch+json';
  return merged(before, body, isStrategic) as RawObject;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString());
}

/** An object that leaves the selection is deleted for who watches with it. */
function tell(watcher: Watcher, change: Change): void {
  if (watcher.frozen) return;
  const { namespace } = resourceAt(watcher.path);
  const sees = (object: RawObject | undefined): boolean =>
    object !== undefined && isIn(namespace, object.metadata) && isSelected(object, watcher.query);
  const was = sees(change.before);
  const is = sees(change.after);
  if (!was && !is) return;
  const gone = was && !is;
  const object = gone ? change.before : change.after;
  const metadata = { ...object?.metadata, resourceVersion: String(change.version) };
  const type = gone ? 'DELETED' : was ? 'MODIFIED' : 'ADDED';
  watcher.response.write(`${JSON.stringify({ type, object: { ...object, metadata } })}\n`);
}

function rawKey(object: RawObject): string {
  const { namespace, name } = object.metadata;
  return typeof namespace === 'string' && namespace !== '' ? `${namespace}/${name}` : name;
}

function sendStatus(response: ServerResponse, code: number, retryAfter?: string): void {
  response.statusCode = code;
  if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
  response.end(JSON.stringify({ kind: 'Status', code, message: `injected ${code}` }));
}

function isSelected(object: RawObject, query: Readonly<Record<string, string>>): boolean {
  const labels = (object.metadata['labels'] ?? {}) as Readonly<Record<string, unknown>>;
  const terms = (name: string): string[] => (query[name] ?? '').split(',').filter(Boolean);
  return (
    terms('labelSelector').every((term) => matches(term, (key) => labels[key])) &&
    terms('fieldSelector').every((term) => matches(term, (path) => fieldOf(object, path)))
  );
}

/** `!key`, `key`, `key=value`, `key!=value` */
function matches(term: string, valueOf: (key: string) => unknown): boolean {
  if (term.startsWith('!')) return valueOf(term.slice(1)) === undefined;
  const [key = '', operator, value] = term.split(/(!=|==?)/);
  const actual = valueOf(key);
  if (operator === undefined) return actual !== undefined;
  return operator === '!=' ? actual !== value : actual === value;
}

function fieldOf(object: RawObject, path: string): unknown {
  let value: unknown = object;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return value;
}
