import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import { Wakeup } from '../informer/wakeup.ts';
import type { Address } from '../ip/address.ts';
import type { NodeObject } from '../services/objects.ts';
import type { Log } from '../telemetry/log.ts';
import { nodeOwners, ownedReason } from './node-owners.ts';

/** What {@link ReservedAddresses} are made of. */
export interface ReservedAddressesOptions {
  /** This node's name: its own addresses are no other's. */
  readonly nodeName: string;
  /** Every Node there is, once. Owns its retries; rejects only where `signal` aborts. */
  readonly listNodes: (signal: AbortSignal) => Promise<readonly NodeObject[]>;
  /** How many there are, which costs next to nothing; undefined where nobody can say. */
  readonly countNodes: (signal: AbortSignal) => Promise<number | undefined>;
  /** Where the API server answers. */
  readonly apiServers: (signal: AbortSignal) => Promise<readonly Address[]>;
  /** Another answer may be given now to what was asked before. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** An address that nobody asked for yet is looked up in a list no older than this. */
const freshMs = 60_000;
/** Nodes that join may have an address that a Service took before: their number tells. */
const countMs = 60_000;
/** Others may have got other addresses, or taken the places of Nodes that left. */
const relistMs = 3_600_000;
const retryMs = 30_000;
const longestWaitMs = 5000;

/**
 * Addresses that no Service may take, since they are another Node's or the API server's: a node that took them would cut
 * itself off. Nothing is read before the first external address is asked for, and then one list of Nodes, so that a
 * cluster without such addresses pays nothing. Then Nodes are counted each minute, and listed again where their number changes. Until the list has come the answer is no.
 */
export class ReservedAddresses {
  readonly #options: ReservedAddressesOptions;
  readonly #wakeup = new Wakeup();
  /** What was said of each address that was asked for; `wanted`: nothing yet. */
  readonly #asked = new Map<Address, 'wanted' | 'unknown' | 'free' | 'taken'>();
  /** Who waits for the next list. */
  readonly #waiting = new Set<AbortController>();
  #owners: ReadonlyMap<Address, string> = new Map();
  #listedAtMs = Number.NEGATIVE_INFINITY;
  #dueAtMs = Number.NEGATIVE_INFINITY;
  /** Before the last list was asked for. */
  #count: number | undefined;
  #version = 0;

  constructor(options: ReservedAddressesOptions) {
    this.#options = options;
  }

  /** Changes with the answers: who keeps one asks anew. */
  get version(): number {
    return this.#version;
  }

  /** Why a Service may not take the address, or undefined. */
  reason(address: Address): string | undefined {
    const owner = this.#owners.get(address);
    const isKnown = this.#isKnown(address);
    this.#asked.set(address, owner !== undefined ? 'taken' : isKnown ? 'free' : 'unknown');
    if (owner !== undefined) return ownedReason(address, owner);
    if (isKnown) return undefined;
    this.#wakeup.ring();
    return `it is not known yet whether ${address} is an address of another Node, since Nodes are not listed yet (the log says why)`;
  }

  /** Waits, but not long, until there are answers for the addresses: a refusal that passes would only alarm people. */
  async ready(addresses: readonly Address[], signal: AbortSignal): Promise<void> {
    const unknown = addresses.filter((each) => !this.#isKnown(each));
    if (unknown.length === 0) return;
    for (const each of unknown) if (!this.#asked.has(each)) this.#asked.set(each, 'wanted');
    const wait = new AbortController();
    this.#waiting.add(wait);
    this.#wakeup.ring();
    await this.#options.clock.sleep(longestWaitMs, AbortSignal.any([signal, wait.signal]));
    this.#waiting.delete(wait);
  }

  #isKnown(address: Address): boolean {
    const isFresh = this.#options.clock.monotonic() - this.#listedAtMs < freshMs;
    return isFresh || this.#owners.has(address) || this.#asked.get(address) === 'free';
  }

  /** Looks up what is asked for, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const isRung = await this.#wakeup.wait(clock, this.#untilLookMs(), signal);
      if (signal.aborted) return;
      if (this.#asked.size === 0) continue;
      const isDue = isRung || clock.monotonic() >= this.#dueAtMs;
      if (isDue || (await this.#hasOtherCount(signal))) await this.#look(signal);
    }
  }

  #untilLookMs(): number {
    if (this.#asked.size === 0) return relistMs;
    return Math.max(0, Math.min(countMs, this.#dueAtMs - this.#options.clock.monotonic()));
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock, log, onChange } = this.#options;
    this.#dueAtMs = clock.monotonic() + retryMs;
    try {
      this.#count = await this.#counted(signal);
      this.#owners = await this.#list(signal);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, `cannot list Nodes: ${errorText(error)}`);
      return;
    }
    this.#listedAtMs = clock.monotonic();
    this.#dueAtMs = this.#listedAtMs + relistMs;
    let isOther = false;
    for (const [address, before] of this.#asked) {
      const answer = this.#owners.has(address) ? 'taken' : 'free';
      isOther ||= before !== 'wanted' && answer !== before;
      this.#asked.set(address, answer);
    }
    if (isOther) {
      this.#version++;
      onChange();
    }
    for (const each of this.#waiting) each.abort();
  }

  async #hasOtherCount(signal: AbortSignal): Promise<boolean> {
    const count = await this.#counted(signal);
    return count !== undefined && count !== this.#count;
  }

  /** Undefined where it cannot be found out; the next list comes all the same. */
  async #counted(signal: AbortSignal): Promise<number | undefined> {
    const { countNodes, log } = this.#options;
    try {
      return await countNodes(signal);
    } catch (error) {
      if (!signal.aborted) log.debug({ err: error }, `cannot count Nodes: ${errorText(error)}`);
      return undefined;
    }
  }

  async #list(signal: AbortSignal): Promise<ReadonlyMap<Address, string>> {
    const { listNodes, apiServers, nodeName } = this.#options;
    const nodes = nodeOwners(await listNodes(signal), nodeName);
    const owners = new Map<Address, string>();
    for (const address of await apiServers(signal)) owners.set(address, 'the API server');
    for (const [address, owner] of nodes) owners.set(address, owner);
    return owners;
  }
}
