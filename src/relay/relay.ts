import type { Address } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';

/** Names a listener over all changes of its pool: `default/web:http/TCP cluster`. */
export type ListenerKey = string & { readonly __brand: 'ListenerKey' };

export type RelayProtocol = 'TCP' | 'UDP';

/** Where bytes may be carried to. */
export interface RelayEndpoint {
  readonly address: Address;
  readonly port: number;
  /** 1 to 65535; turns are shared out by it. */
  readonly weight: number;
}

/** Endpoints that take turns. */
export interface RelayPool {
  /** Not empty, sorted bytewise by `ip:port`. */
  readonly endpoints: readonly RelayEndpoint[];
  /** A client (an address) stays with its endpoint until it has been away for so long. */
  readonly affinitySeconds: number | undefined;
  /** A UDP flow ends when nothing has passed for so long. */
  readonly udpIdleMs: number;
  /** How long connections to an endpoint that left may last; 0: they are reset at once. */
  readonly drainSeconds: number;
  /** Each connection to an endpoint starts with a PROXY protocol header of version 2. */
  readonly proxyProtocol: boolean;
}

/** What a client gets, by its address: the first route whose sources hold it. */
export interface Route {
  /** undefined: everybody. */
  readonly sources: readonly Cidr[] | undefined;
  /** `refuse`: TCP is reset, a datagram is ignored. */
  readonly to: RelayPool | 'refuse';
}

/** A socket that takes connections or datagrams. */
export interface Listener {
  readonly key: ListenerKey;
  readonly address: Address;
  readonly port: number;
  readonly protocol: RelayProtocol;
  /**
   * Connections stay as long as any listener of the group leads to their endpoint, whichever let them in; default: it is
   * alone.
   */
  readonly group?: string;
  /** Who fits none is refused. */
  readonly routes: readonly Route[];
  /** What clients ask, where all of them ask the same and it is not this place: a PROXY header says so. */
  readonly asked?: { readonly address: Address; readonly port: number } | undefined;
}

/** A listener that is not there, in the words of the system: `EADDRINUSE`. */
export interface ListenFailure {
  readonly key: ListenerKey;
  readonly code: string;
  readonly message: string;
}

/** What changes: listeners that go, and those that come or have new routes. */
export interface RelayChange {
  readonly close: readonly ListenerKey[];
  /** One whose address, port or protocol differ is closed and opened anew. */
  readonly open: readonly Listener[];
}

export type DialFailure = 'refused' | 'timeout' | 'unreachable' | 'reset' | 'files' | 'other';

/** Counters of one listener, since it was opened first. */
export interface ListenerStats {
  readonly connections: number;
  /** Open TCP connections, or UDP flows. */
  readonly active: number;
  /** From clients to endpoints, and back. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly dialFailures: Readonly<Record<DialFailure, number>>;
  /** Dials after the first of a connection. */
  readonly retries: number;
  /** Clients that were turned away: no endpoint answered, or no route. */
  readonly refused: number;
  /** UDP flows that had to give way to newer ones. */
  readonly evicted: number;
}

/** Carries bytes between clients of listeners and endpoints of pools. */
export interface Relay {
  /**
   * Opens, changes and closes listeners; resolves when that is done, with those that could not be opened: they are as if never asked
   * for. Connections to endpoints that the listener's group leads to no more drain.
   */
  change(change: RelayChange): Promise<readonly ListenFailure[]>;
  /** Lets clients in; until then a listener resets whoever comes. One that is opened at another place has to be admitted again. */
  admit(keys: Iterable<ListenerKey>): Promise<void>;
  /** Counters by listener, of those that are open or still drain. */
  stats(): ReadonlyMap<ListenerKey, ListenerStats>;
  /** Closes all listeners; resolves when their places are free. Connections go on. */
  leave(): Promise<void>;
  /** Closes all listeners, waits until no connection is left or `withinMs` have passed, and resets the rest. */
  drain(withinMs: number): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}
