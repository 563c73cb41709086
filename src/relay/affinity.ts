/** So many clients a listener are remembered; the one that has been away longest gives way. */
const mostClients = 100_000;

interface Pin {
  readonly endpoint: string;
  readonly at: number;
}

/** Which endpoint each client of a listener stays with. Times are milliseconds of a clock that is never set back. */
export class Affinity {
  /** Those that have been away longest come first. */
  readonly #pins = new Map<string, Pin>();

  /** The client's endpoint (`ip:port`), if it was here within the time-out; being asked for counts as being here. */
  find(client: string, withinMs: number, now: number): string | undefined {
    const pin = this.#pins.get(client);
    if (pin === undefined || now - pin.at >= withinMs) return undefined;
    this.pin(client, pin.endpoint, withinMs, now);
    return pin.endpoint;
  }

  pin(client: string, endpoint: string, withinMs: number, now: number): void {
    this.#pins.delete(client);
    this.#pins.set(client, { endpoint, at: now });
    for (const [oldest, { at }] of this.#pins) {
      if (now - at < withinMs && this.#pins.size <= mostClients) break;
      this.#pins.delete(oldest);
    }
  }

  forget(client: string): void {
    this.#pins.delete(client);
  }

  /** Forgets the clients of endpoints that are not among these. */
  keep(endpoints: ReadonlySet<string>): void {
    for (const [client, { endpoint }] of this.#pins) {
      if (!endpoints.has(endpoint)) this.#pins.delete(client);
    }
  }

  get size(): number {
    return this.#pins.size;
  }
}
