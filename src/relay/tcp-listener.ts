import type { Address } from '../ip/address.ts';
import { Affinity } from './affinity.ts';
import { Choice } from './choice.ts';
import type { Chosen } from './choice.ts';
import type { Counters } from './counters.ts';
import { Dial, reasonOf } from './dialer.ts';
import type { Drained } from './drains.ts';
import type { KeptEndpoint, ListenerOrder } from './messages.ts';
import type { RouteTable } from './pool.ts';
import { proxyHeader } from './proxy-protocol.ts';
import type { Place } from './proxy-protocol.ts';
import type { DialFailure } from './relay.ts';
import { Arrival, TcpConnection } from './tcp-connection.ts';
import { filesCure } from './wire.ts';
import type { Wire } from './wire.ts';
import type { WorkerContext } from './worker-context.ts';

/** A client on its way to an endpoint. */
interface Visit extends Drained {
  readonly arrival: Arrival;
  readonly dial: Dial;
  readonly failures: string[];
}

/** Who is here, and who was. */
class Guests {
  readonly affinity: Affinity;
  readonly visits = new Set<Visit>();
  readonly connections = new Set<TcpConnection>();

  constructor(affinity: Affinity) {
    this.affinity = affinity;
  }
}

/** One worker's part of a TCP listener: takes clients, finds an endpoint for each, and joins the two. */
export class TcpListener {
  readonly #context: WorkerContext;
  readonly #counters: Counters;
  #made: Guests | undefined;
  readonly #emptied: () => void;
  #order: ListenerOrder;
  #routes: RouteTable;
  #isAdmitted: boolean;
  /** Endpoints beside its own to which connections stay, each with what they have once it is kept no more. */
  #keptMs: ReadonlyMap<string, number>;
  /** Nobody comes any more, and who is here has to go. */
  #leaves: { readonly withinMs: number | undefined } | undefined;
  #unbind: (() => Promise<void>) | undefined;

  /** `emptied`: the last client has left. */
  constructor(
    context: WorkerContext,
    order: ListenerOrder,
    routes: RouteTable,
    counters: Counters,
    emptied: () => void,
  ) {
    this.#context = context;
    this.#order = order;
    this.#routes = routes;
    this.#isAdmitted = order.admitted;
    this.#keptMs = keptMs(order.kept);
    this.#counters = counters;
    this.#emptied = emptied;
  }

  get order(): ListenerOrder {
    return this.#order;
  }

  get isEmpty(): boolean {
    return this.#made === undefined || this.#made.visits.size + this.#made.connections.size === 0;
  }

  /** Most of ten thousand listeners never have any. */
  get #guests(): Guests {
    return (this.#made ??= new Guests(new Affinity(this.#context.clients)));
  }

  /** Rejects with an error that has the system's code. */
  async bind(): Promise<void> {
    const { shared, first } = this.#order;
    const { wires } = this.#context;
    const listener = {
      accepted: (wire: Wire) => {
        this.#accepted(wire);
      },
      failed: (code: string) => {
        this.#cannotAccept(code);
      },
    };
    if (shared && first) {
      // Whoever shares would share with strangers, too.
      const stop = await wires.listen(this.#order, false, listener);
      await stop();
    }
    this.#unbind = await wires.listen(this.#order, shared, listener);
  }

  get isBound(): boolean {
    return this.#unbind !== undefined;
  }

  async unbind(): Promise<void> {
    const unbind = this.#unbind;
    this.#unbind = undefined;
    await unbind?.();
  }

  admit(): void {
    this.#isAdmitted = true;
  }

  /** New routes: connections to endpoints that stay are left alone, others drain. */
  change(order: ListenerOrder, routes: RouteTable): void {
    const last = this.#routes;
    const lastKept = this.#keptMs;
    this.#order = order;
    this.#keptMs = keptMs(order.kept);
    this.#routes = routes;
    this.#isAdmitted = order.admitted;
    this.#leaves = undefined;
    if (this.#made === undefined) return;
    const before = last.drainMs;
    this.#guests.affinity.keep(new Set(routes.drainMs.keys()));
    const { drains } = this.#context;
    for (const visit of this.#guests.visits) drains.delete(visit);
    for (const connection of this.#guests.connections) {
      const { target } = connection;
      this.#settle(connection, before.get(target) ?? lastKept.get(target));
    }
  }

  /** Connections to these endpoints stay, whatever its own routes are; also where the listener is closed. */
  keep(endpoints: readonly KeptEndpoint[]): void {
    const before = this.#keptMs;
    this.#keptMs = keptMs(endpoints);
    for (const connection of this.#made?.connections ?? [])
      this.#settle(connection, before.get(connection.target));
  }

  /** Connections end within so long; undefined: within what their pools say. */
  drain(withinMs?: number): void {
    this.#leaves = { withinMs };
    if (this.isEmpty) {
      this.#emptied();
      return;
    }
    for (const visit of this.#guests.visits) this.#drain(visit);
    for (const connection of this.#guests.connections) this.#drain(connection);
  }

  /** Everything ends now. */
  reset(): void {
    if (this.isEmpty) return;
    for (const each of [...this.#guests.visits, ...this.#guests.connections]) each.reset();
  }

  /** It is no more. */
  forget(): void {
    this.#made?.affinity.close();
  }

  upkeep(): void {
    if (this.isEmpty) return;
    for (const connection of this.#guests.connections) connection.upkeep();
  }

  #cannotAccept(code: string): void {
    this.#counters.add('refused');
    const lacksFiles = reasonOf(code) === 'files';
    if (lacksFiles) this.#counters.failedDial('files');
    this.#context.report.warn(this.#order.key, 'a client could not be let in', () => ({
      code,
      ...(lacksFiles && { cure: filesCure }),
    }));
  }

  #accepted(client: Wire): void {
    const place = this.#needsClient() ? client.peer() : undefined;
    if (!this.#isAdmitted || this.#routes.poolFor(place?.address) === undefined) {
      this.#counters.add('refused');
      client.reset();
      return;
    }
    const { mostConnections, report } = this.#context;
    if (this.#counters.total('active') >= mostConnections) {
      this.#counters.add('refused');
      report.warn(this.#order.key, 'a listener has all connections that one may have', () => ({
        connections: mostConnections,
        cure: filesCure,
      }));
      client.reset();
      return;
    }
    this.#counters.add('connections');
    this.#counters.add('active');
    this.#visit(client, place);
  }

  /** The client's address costs a system call. */
  #needsClient(): boolean {
    const { sameForAll, sticks, speaksProxy } = this.#routes;
    return !sameForAll || sticks || speaksProxy;
  }

  #visit(client: Wire, place: Place | undefined): void {
    const choice = this.#choiceFor(place?.address);
    const dial = new Dial({
      wires: this.#context.wires,
      after: this.#context.after,
      choice,
      failed: (chosen, reason) => {
        this.#dialFailed(visit, chosen, reason);
      },
      connected: (server, chosen) => {
        if (choice.tries > 1) this.#counters.add('retries', choice.tries - 1);
        this.#join(visit, server, chosen, place);
      },
      gaveUp: () => {
        if (choice.tries > 1) this.#counters.add('retries', choice.tries - 1);
        this.#turnAway(visit);
      },
    });
    const reset = (): void => {
      dial.abandon();
      client.reset();
      this.#left(visit);
    };
    const arrival = new Arrival(client, reset);
    const visit: Visit = { arrival, dial, failures: [], reset };
    this.#guests.visits.add(visit);
    dial.start();
  }

  #choiceFor(client: Address | undefined): Choice {
    return new Choice({
      routes: () => this.#routes,
      affinity: this.#guests.affinity,
      client,
      now: this.#context.now,
    });
  }

  #dialFailed({ failures }: Visit, { target }: Chosen, reason: DialFailure): void {
    this.#counters.failedDial(reason);
    failures.push(`${target.name} ${reason}`);
  }

  #turnAway(visit: Visit): void {
    const { arrival, failures } = visit;
    this.#counters.add('refused');
    const lacksFiles = failures.at(-1)?.endsWith(' files') === true;
    this.#context.report.warn(this.#order.key, 'no endpoint has answered a client', () => ({
      tried: failures.slice(0, 8),
      ...(lacksFiles && { cure: filesCure }),
    }));
    arrival.client.reset();
    this.#left(visit);
  }

  #left(visit: Visit): void {
    if (!this.#guests.visits.delete(visit)) return;
    this.#context.drains.delete(visit);
    this.#counters.add('active', -1);
    if (this.isEmpty) this.#emptied();
  }

  #join(visit: Visit, server: Wire, { target, pool }: Chosen, place: Place | undefined): void {
    const header = this.#headerFor(visit.arrival.client, pool, place);
    if (header === undefined) {
      server.reset();
      visit.reset();
      return;
    }
    this.#guests.visits.delete(visit);
    this.#context.drains.delete(visit);
    const { client } = visit.arrival;
    const connection = new TcpConnection(client, server, target.name, this.#counters, (ended) => {
      this.#guests.connections.delete(ended);
      this.#context.drains.delete(ended);
      this.#counters.add('active', -1);
      if (this.isEmpty) this.#emptied();
    });
    this.#guests.connections.add(connection);
    const { bytes, ended } = visit.arrival.soFar();
    connection.start([...header, ...bytes], header[0]?.length ?? 0, ended);
    // The endpoint or the listener may have left while it was dialled.
    if (!this.#routes.holds(pool, target) && !this.#stays(target.name))
      this.#context.drains.add(connection, pool.drainMs);
    if (this.#leaves) this.#drain(connection);
  }

  /**
   * What the endpoint is told first. Undefined: the client is no more. What it has sent must not come without a header,
   * since it may look like one.
   */
  #headerFor(
    client: Wire,
    { proxyProtocol }: Chosen['pool'],
    place: Place | undefined,
  ): readonly Uint8Array[] | undefined {
    if (!proxyProtocol) return [];
    const source = place ?? client.peer();
    return source && [proxyHeader(source, this.#askedBy(client))];
  }

  /** `leftMs`: how long it may last where its endpoint has just left; one whose endpoint left earlier has its deadline. */
  #settle(connection: TcpConnection, leftMs: number | undefined): void {
    const { drains } = this.#context;
    if (this.#stays(connection.target)) drains.delete(connection);
    else if (leftMs !== undefined) drains.add(connection, leftMs);
  }

  /** Whether connections to an endpoint have no deadline. */
  #stays(target: string): boolean {
    if (this.#leaves === undefined && this.#routes.drainMs.has(target)) return true;
    return this.#leaves?.withinMs === undefined && this.#keptMs.has(target);
  }

  #drain(leaving: Visit | TcpConnection): void {
    if (leaving instanceof TcpConnection && this.#stays(leaving.target)) return;
    const { drainMs } = this.#routes;
    const own =
      leaving instanceof TcpConnection
        ? drainMs.get(leaving.target)
        : Math.max(0, ...drainMs.values());
    const withinMs = this.#leaves?.withinMs ?? own;
    // whose endpoint left earlier has its deadline
    if (withinMs !== undefined) this.#context.drains.add(leaving, withinMs);
  }

  #askedBy(client: Wire): Place {
    return this.#order.asked ?? client.here() ?? this.#order;
  }
}

function keptMs(endpoints: readonly KeptEndpoint[]): ReadonlyMap<string, number> {
  if (endpoints.length === 0) return nothingKept;
  return new Map(endpoints.map(({ name, drainSeconds }) => [name, drainSeconds * 1000]));
}

const nothingKept: ReadonlyMap<string, number> = new Map();
