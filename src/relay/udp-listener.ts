import type { RemoteInfo, Socket } from 'node:dgram';
import { hostPort, parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { Affinity } from './affinity.ts';
import { Choice } from './choice.ts';
import type { Counters } from './counters.ts';
import { reasonOf } from './dialer.ts';
import type { FlowOwner, FlowTable } from './flow-table.ts';
import type { ListenerOrder } from './messages.ts';
import type { RouteTable } from './pool.ts';
import { UdpFlow, mostQueuedBytes, openSocket } from './udp-flow.ts';
import { filesCure } from './wire.ts';
import type { WorkerContext } from './worker-context.ts';

/** A UDP listener: a flow for each client's address and port; answers leave from the listener's own socket. */
export class UdpListener implements FlowOwner {
  readonly #context: WorkerContext;
  readonly #counters: Counters;
  readonly #table: FlowTable;
  readonly #affinity: Affinity;
  /** By the client's `ip:port`; those that have been idle longest first. */
  readonly #flows = new Map<string, UdpFlow>();
  readonly #emptied: () => void;
  #order: ListenerOrder;
  #routes: RouteTable;
  #isAdmitted: boolean;
  #socket: Socket | undefined;

  /** `emptied`: the last flow has ended. */
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
    this.#counters = counters;
    this.#table = context.flows;
    this.#affinity = new Affinity(context.clients);
    this.#emptied = emptied;
  }

  get order(): ListenerOrder {
    return this.#order;
  }

  get isBound(): boolean {
    return this.#socket !== undefined;
  }

  get isEmpty(): boolean {
    return this.#flows.size === 0;
  }

  /** Rejects with an error that has the system's code. */
  async bind(): Promise<void> {
    const { address, port } = this.#order;
    const socket = openSocket(address);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ address, port }, resolve);
    }).catch((error: unknown) => {
      socket.close();
      throw error;
    });
    socket.removeAllListeners('error');
    socket.on('error', (error) => {
      this.#context.report.warn(this.#order.key, 'a UDP listener has met an error', () => ({
        error: error.message,
      }));
    });
    socket.on('message', (bytes, from) => {
      this.#received(bytes, from);
    });
    this.#socket = socket;
  }

  /** Answers leave from this socket: without it, no flow goes on. */
  async unbind(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    this.reset();
    if (socket !== undefined) await new Promise<void>((resolve) => socket.close(resolve));
  }

  admit(): void {
    this.#isAdmitted = true;
  }

  /** New routes: flows to endpoints that have left end. */
  change(order: ListenerOrder, routes: RouteTable): void {
    this.#order = order;
    this.#routes = routes;
    this.#isAdmitted = order.admitted;
    const { drainMs } = routes;
    this.#affinity.keep(new Set(drainMs.keys()));
    for (const flow of this.#flows.values()) {
      if (!drainMs.has(flow.chosen.target.name)) this.#end(flow);
    }
  }

  keep(): void {
    // Answers leave from the listener's own socket: its flows end with it, and other ones begin at another listener.
  }

  /** A flow has no end that could be waited for. */
  drain(): void {
    this.reset();
    if (this.isEmpty) this.#emptied();
  }

  reset(): void {
    for (const flow of this.#flows.values()) this.#end(flow);
  }

  drop(flow: UdpFlow, why: 'idle' | 'evicted'): void {
    if (why === 'evicted') this.#counters.add('evicted');
    this.#end(flow);
  }

  /** It is no more. */
  forget(): void {
    this.#affinity.close();
  }

  upkeep(): void {
    // The table of flows looks after what is idle.
  }

  #received(bytes: Uint8Array, from: RemoteInfo): void {
    if (!this.#isAdmitted) return;
    const client = hostPort(from.address as Address, from.port);
    const flow = this.#flows.get(client);
    const live = flow === undefined || flow.hasFailed ? this.#open(client, from, flow) : flow;
    if (live === undefined) return;
    this.#counters.add('bytesIn', bytes.length);
    live.send(bytes);
    this.#touch(live);
  }

  /** `before`: the client's flow to an endpoint that does not serve. */
  #open(client: string, from: RemoteInfo, before: UdpFlow | undefined): UdpFlow | undefined {
    const address = parseAddress(from.address.replace(/%.*/, ''));
    let choice = before?.choice ?? this.#choiceFor(address);
    let chosen = choice.next();
    if (chosen === undefined && before !== undefined) {
      // All were tried once: from the start.
      choice = this.#choiceFor(address);
      chosen = choice.next();
    }
    if (before !== undefined) this.#end(before);
    if (chosen === undefined) {
      this.#counters.add('refused');
      return undefined;
    }
    this.#counters.add(before === undefined ? 'connections' : 'retries');
    const flow = new UdpFlow(client, choice, chosen, this.#context.now());
    this.#makeRoom();
    this.#flows.set(client, flow);
    this.#counters.add('active');
    this.#table.add(flow, this);
    flow.start({
      answered: (bytes) => {
        this.#answer(flow, bytes, from);
      },
      failed: (code) => {
        this.#failed(flow, code);
      },
    });
    return flow;
  }

  #choiceFor(client: Address | undefined): Choice {
    return new Choice({
      routes: () => this.#routes,
      affinity: this.#affinity,
      client,
      now: this.#context.now,
    });
  }

  #makeRoom(): void {
    if (this.#flows.size < this.#table.mostOfListener) return;
    const [oldest] = this.#flows.values();
    if (oldest !== undefined) this.drop(oldest, 'evicted');
  }

  #answer(flow: UdpFlow, bytes: Uint8Array, to: RemoteInfo): void {
    this.#touch(flow);
    const socket = this.#socket;
    // Port 0 is for those who want no answer; a socket would throw at it.
    if (to.port === 0 || socket === undefined) return;
    if (socket.getSendQueueSize() > mostQueuedBytes) return;
    this.#counters.add('bytesOut', bytes.length);
    // A client that is gone is no matter for anybody; its flow ends by itself.
    socket.send(bytes, to.port, to.address, () => {});
  }

  #touch(flow: UdpFlow): void {
    this.#table.touch(flow);
    if (this.#flows.delete(flow.client)) this.#flows.set(flow.client, flow);
  }

  /** The client's next datagram goes to another endpoint; this one is lost, as datagrams are. */
  #failed(flow: UdpFlow, code: string): void {
    const reason = reasonOf(code);
    const { target } = flow.chosen;
    this.#counters.failedDial(reason);
    flow.choice.failed(target);
    flow.fail();
    this.#context.report.warn(this.#order.key, 'an endpoint does not take datagrams', () => ({
      endpoint: target.name,
      reason,
      ...(reason === 'files' && { cure: filesCure }),
    }));
    if (reason !== 'files') return;
    this.#end(flow);
    this.#table.evictOldest();
  }

  #end(flow: UdpFlow): void {
    flow.close();
    this.#table.delete(flow);
    if (this.#flows.get(flow.client) !== flow) return;
    this.#flows.delete(flow.client);
    this.#counters.add('active', -1);
  }
}
