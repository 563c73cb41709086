/** So many clients a listener are remembered; the one that has been away longest gives way. */
const mostClients = 100_000;

/** So many of one worker: then whoever has a new client forgets one of its own. */
const mostClientsOfWorker = 400_000;

/** The clients that the listeners of one worker remember. */
export class ClientCount {
  readonly most: number;
  value = 0;

  constructor(most = mostClientsOfWorker) {
    this.most = most;
  }
}

interface Pin {
  readonly endpoint: string;
  readonly at: number;
}

/** Which endpoint each client of a listener stays with. Times are milliseconds of a clock that is never set back. */
export class Affinity {
  /** Those that have been away longest come first. */
  readonly #pins = new Map<string, Pin>();
  readonly #all: ClientCount;

  constructor(all: ClientCount) {
    this.#all = all;
  }

  /** The client's endpoint (`ip:port`), if it was here within the time-out; being asked for counts as being here. */
  find(client: string, withinMs: number, now: number): string | undefined {
    const pin = this.#pins.get(client);
    if (pin === undefined || now - pin.at >= withinMs) return undefined;
    this.pin(client, pin.endpoint, withinMs, now);
    return pin.endpoint;
  }

  pin(client: string, endpoint: string, withinMs: number, now: number): void {
    this.forget(client);
    this.#pins.set(client, { endpoint, at: now });
    this.#all.value++;
    for (const [oldest, { at }] of this.#pins) {
      if (now - at < withinMs && !this.#isFull) break;
      this.forget(oldest);
    }
  }

  forget(client: string): void {
    if (this.#pins.delete(client)) this.#all.value--;
  }

  /** The listener is no more. */
  close(): void {
    for (const client of this.#pins.keys()) this.forget(client);
  }

  /** Forgets the clients of endpoints that are not among these. */
  keep(endpoints: ReadonlySet<string>): void {
    for (const [client, { endpoint }] of this.#pins) {
      if (!endpoints.has(endpoint)) this.forget(client);
    }
  }

  /** The newest client is always remembered. */
  get #isFull(): boolean {
    const { size } = this.#pins;
    return size > mostClients || (size > 1 && this.#all.value > this.#all.most);
  }

  get size(): number {
    return this.#pins.size;
  }
}
