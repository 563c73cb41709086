import type { Cidr } from '../ip/cidr.ts';
import type { Log } from '../telemetry/log.ts';
import type { Place } from './proxy-protocol.ts';
import type { ListenFailure, ListenerKey, RelayEndpoint, RelayProtocol } from './relay.ts';

/** A pool as workers are told of it. */
export interface PoolOrder {
  /** The slot of the counter that all workers take turns at. */
  readonly turns: number;
  /** In the order of their turns. */
  readonly endpoints: readonly RelayEndpoint[];
  readonly affinitySeconds: number | undefined;
  readonly udpIdleMs: number;
  readonly drainSeconds: number;
  readonly proxyProtocol: boolean;
}

export interface RouteOrder {
  readonly sources: readonly Cidr[] | undefined;
  /** undefined: refused. */
  readonly pool: PoolOrder | undefined;
}

/** An endpoint to which connections may stay though their listener does not lead there. */
export interface KeptEndpoint {
  /** `ip:port` */
  readonly name: string;
  /** How long they may last once it is kept no more. */
  readonly drainSeconds: number;
}

export interface ListenerName {
  readonly key: ListenerKey;
  /** Its number, and the slot of its counters. */
  readonly slot: number;
  /** Counts how often its key was opened, so that a late word about an earlier time is known as such. */
  readonly epoch: number;
}

/** A listener as workers are told of it. */
export interface ListenerOrder extends ListenerName, Place {
  readonly protocol: RelayProtocol;
  /** This worker has a socket there; false: connections at most, from an earlier time. */
  readonly bound: boolean;
  /** Other workers have a socket at the same place. */
  readonly shared: boolean;
  /** Nobody has a socket there yet: whether the place is free has to be asked first. */
  readonly first: boolean;
  readonly admitted: boolean;
  readonly routes: readonly RouteOrder[];
  readonly asked: Place | undefined;
  readonly kept: readonly KeptEndpoint[];
}

export interface KeptOrder {
  readonly slot: number;
  readonly endpoints: readonly KeptEndpoint[];
}

/** What a worker is told to do. Each is answered when it is done. */
export type Order =
  /** Stop listening; connections go on. */
  | { readonly do: 'unbind'; readonly slots: readonly number[] }
  /** Stop listening, and let connections drain. */
  | { readonly do: 'close'; readonly listeners: readonly ListenerName[] }
  | { readonly do: 'open'; readonly listeners: readonly ListenerOrder[] }
  | { readonly do: 'admit'; readonly slots: readonly number[] }
  /** To which endpoints beside its own connections of a listener stay, also of one that is closed. */
  | { readonly do: 'keep'; readonly kept: readonly KeptOrder[] }
  | { readonly do: 'drain'; readonly withinMs: number }
  | { readonly do: 'end' };

/** Shared memory that came since the last order: blocks of listeners' counters, and of pools' turns. */
export interface NewMemory {
  readonly counters: readonly SharedArrayBuffer[];
  readonly turns: readonly SharedArrayBuffer[];
}

export interface NumberedOrder {
  readonly id: number;
  readonly order: Order;
  readonly memory: NewMemory;
}

/** What a worker says. */
export type Word =
  | { readonly say: 'done'; readonly id: number; readonly failures: readonly ListenFailure[] }
  /** A closed listener's last connection has ended. */
  | { readonly say: 'gone'; readonly key: ListenerKey; readonly epoch: number }
  | {
      readonly say: 'log';
      readonly level: keyof Log;
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    };

/** What a worker is started with. */
export interface WorkerStart {
  readonly number: number;
  /** How many there are. */
  readonly workers: number;
  readonly wires: 'handles' | 'sockets';
  /** File descriptors that connections may have; undefined: all there are. */
  readonly mostFiles: number | undefined;
}
