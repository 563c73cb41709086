import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** An object as the API has it. */
export interface RawObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string };
  readonly [field: string]: unknown;
}

/** What goes wrong with the next request, or the next `times` ones, that it fits. */
export type Fault = {
  readonly on: 'list' | 'watch' | 'create' | 'patch';
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
 * Enough of the Kubernetes API to list, watch, create and merge, over real sockets, and to go wrong on request.
 * Paths are those of all namespaces, `/api/v1/services`, but for what is written: that lies below the path it is created at.
 */
export class FakeApiServer {
  readonly requests: FakeRequest[] = [];
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
  put(path: string, object: RawObject): RawObject {
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
    for (const watcher of this.#watching(change.path)) tell(watcher, change);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const path = url.pathname;
    const query = Object.fromEntries(url.searchParams);
    const { method = 'GET', headers } = request;
    const body = method === 'GET' ? undefined : await bodyOf(request);
    this.requests.push({ method, path, query, headers, body });
    if (this.#token !== undefined && request.headers.authorization !== `Bearer ${this.#token}`) {
      sendStatus(response, 401);
      return;
    }
    const fault = this.#takeFault(path, verbOf(method, query), query);
    if (fault?.type === 'hold') await fault.until;
    else if (fault !== undefined && this.#goWrong(fault, response)) return;
    if (body !== undefined) this.#write(method, path, body as RawObject, response);
    else if (query['watch'] === 'true') this.#watch(path, query, response, fault);
    else this.#list(path, query, response);
  }

  #write(method: string, path: string, object: RawObject, response: ServerResponse): void {
    if (method === 'POST') this.#create(path, object, response);
    else this.#merge(path, object, response);
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
  objects(path: string): readonly RawObject[] {
    return [...(this.#objects.get(path)?.values() ?? [])];
  }

  #create(path: string, object: RawObject, response: ServerResponse): void {
    if (this.#objects.get(path)?.has(rawKey(object)) === true) sendStatus(response, 409);
    else response.writeHead(201).end(JSON.stringify(this.put(path, object)));
  }

  /** One level deep. */
  #merge(path: string, change: object, response: ServerResponse): void {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const name = decodeURIComponent(path.slice(folder.length + 1));
    const before = this.objects(folder).find(({ metadata }) => metadata.name === name);
    if (before === undefined) sendStatus(response, 404);
    else response.end(JSON.stringify(this.put(folder, { ...before, ...change })));
  }

  #list(path: string, query: Readonly<Record<string, string>>, response: ServerResponse): void {
    const objects = [...(this.#objects.get(path)?.values() ?? [])].filter((object) =>
      isSelected(object, query),
    );
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
      if (change.path === path && change.version > from) tell(watcher, change);
    }
  }
}

function verbOf(method: string, query: Readonly<Record<string, string>>): Fault['on'] {
  if (method === 'POST') return 'create';
  if (method === 'PATCH') return 'patch';
  return query['watch'] === 'true' ? 'watch' : 'list';
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

/** An object that leaves the selection is deleted for who watches with it. */
function tell(watcher: Watcher, change: Change): void {
  if (watcher.frozen) return;
  const was = change.before !== undefined && isSelected(change.before, watcher.query);
  const is = change.after !== undefined && isSelected(change.after, watcher.query);
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
