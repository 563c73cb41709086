import { errorText } from '../error.ts';
import { Counters, fieldsPerWorker } from './counters.ts';
import type { ListenerName, ListenerOrder, NumberedOrder, Order, Word } from './messages.ts';
import { RouteTable } from './pool.ts';
import type { ListenFailure } from './relay.ts';
import { SharedSlots } from './shared-slots.ts';
import { TcpListener } from './tcp-listener.ts';
import { UdpListener } from './udp-listener.ts';
import { codeOf } from './wire.ts';
import type { WorkerContext } from './worker-context.ts';

type AnyListener = TcpListener | UdpListener;

/** Bytes of a listener's slot of counters. */
export function counterBytes(workers: number): number {
  return workers * fieldsPerWorker * Float64Array.BYTES_PER_ELEMENT;
}

/** Bytes of a counter of turns: a cache line, so that two pools' workers do not wait for each other. */
export const turnBytes = 64;

/** Does what the relay orders, on one thread. */
export class RelayWorker {
  readonly #number: number;
  readonly #context: WorkerContext;
  readonly #counters: SharedSlots;
  readonly #turns = new SharedSlots(turnBytes);
  readonly #say: (word: Word) => void;
  readonly #listeners = new Map<number, AnyListener>();
  /** Those that are closed, and have connections. */
  readonly #leaving = new Set<AnyListener>();
  #whenEmpty: (() => void) | undefined;

  constructor(number: number, workers: number, context: WorkerContext, say: (word: Word) => void) {
    this.#number = number;
    this.#counters = new SharedSlots(counterBytes(workers));
    this.#context = context;
    this.#say = say;
  }

  /** Orders are done one after the other: whoever gives them waits for the answer. */
  async obey({ id, order, memory }: NumberedOrder): Promise<void> {
    this.#counters.add(memory.counters);
    this.#turns.add(memory.turns);
    const failures = await this.#do(order);
    this.#say({ say: 'done', id, failures });
  }

  upkeep(): void {
    for (const listener of this.#listeners.values()) listener.upkeep();
  }

  async #do(order: Order): Promise<readonly ListenFailure[]> {
    if (order.do === 'open') return this.#openAll(order.listeners);
    switch (order.do) {
      case 'unbind':
        await Promise.all(this.#among(order.slots).map(async (listener) => listener.unbind()));
        break;
      case 'close':
        await Promise.all(order.listeners.map(async (name) => this.#close(name)));
        break;
      case 'admit':
        for (const listener of this.#among(order.slots)) listener.admit();
        break;
      case 'keep':
        for (const { slot, endpoints } of order.kept) this.#listeners.get(slot)?.keep(endpoints);
        break;
      case 'drain':
        await this.#drain(order.withinMs);
        break;
      case 'end':
        await this.#drain(0);
        break;
    }
    return [];
  }

  #among(slots: readonly number[]): readonly AnyListener[] {
    return slots.flatMap((slot) => this.#listeners.get(slot) ?? []);
  }

  async #close({ key, slot, epoch }: ListenerName): Promise<void> {
    const listener = this.#listeners.get(slot);
    if (listener === undefined) {
      this.#say({ say: 'gone', key, epoch });
      return;
    }
    await listener.unbind();
    this.#leaving.add(listener);
    listener.drain();
  }

  async #openAll(orders: readonly ListenerOrder[]): Promise<readonly ListenFailure[]> {
    const failures = await Promise.all(orders.map(async (order) => this.#open(order)));
    return failures.flatMap((failure) => failure ?? []);
  }

  async #open(order: ListenerOrder): Promise<ListenFailure | undefined> {
    const routes = new RouteTable(order.routes, (slot) => this.#turns.integers(slot));
    const known = this.#listeners.get(order.slot);
    if (known === undefined && !order.bound) return undefined;
    const listener = known ?? this.#make(order, routes);
    this.#leaving.delete(listener);
    known?.change(order, routes);
    if (listener.isBound || !order.bound) return undefined;
    try {
      await listener.bind();
      return undefined;
    } catch (error) {
      return { key: order.key, code: codeOf(error), message: errorText(error) };
    }
  }

  #make(order: ListenerOrder, routes: RouteTable): AnyListener {
    const Kind = order.protocol === 'TCP' ? TcpListener : UdpListener;
    const counters = new Counters(() => this.#counters.floats(order.slot), this.#number);
    const listener: AnyListener = new Kind(this.#context, order, routes, counters, () => {
      this.#emptied(listener);
    });
    this.#listeners.set(order.slot, listener);
    return listener;
  }

  #emptied(listener: AnyListener): void {
    if (!this.#leaving.delete(listener)) return;
    const { key, slot, epoch } = listener.order;
    this.#listeners.delete(slot);
    listener.forget();
    this.#say({ say: 'gone', key, epoch });
    if (this.#leaving.size === 0) this.#whenEmpty?.();
  }

  async #drain(withinMs: number): Promise<void> {
    const all = [...this.#listeners.values()];
    await Promise.all(all.map(async (listener) => listener.unbind()));
    for (const listener of all) this.#leaving.add(listener);
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    for (const listener of all) {
      if (withinMs > 0) listener.drain(withinMs);
      else this.#end(listener);
    }
    if (this.#leaving.size > 0) await empty;
  }

  #end(listener: AnyListener): void {
    listener.reset();
    listener.drain(0);
  }
}
