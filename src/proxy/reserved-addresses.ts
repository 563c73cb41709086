import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import { aborted, Wakeup } from '../informer/wakeup.ts';
import type { Source } from '../informer/source.ts';
import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import type { NodeObject } from '../services/objects.ts';
import type { Log } from '../telemetry/log.ts';
import { FollowedNodes } from './followed-nodes.ts';
import { ownedReason } from './node-owners.ts';
import { sliceHints } from './slice-hints.ts';

/** What {@link ReservedAddresses} are made of. */
export interface ReservedAddressesOptions {
  /** This node's name: its own addresses are no other's. */
  readonly nodeName: string;
  /** Every Node there is. */
  readonly nodes: Source<NodeObject>;
  /** How many there are, which costs next to nothing; undefined where nobody can say. */
  readonly countNodes: (signal: AbortSignal) => Promise<number | undefined>;
  /** Where the API server answers. Owns its retries as to the API; rejects where a name cannot be looked up. */
  readonly apiServers: (signal: AbortSignal) => Promise<readonly Address[]>;
  /** Another answer may be given now to what was asked before. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** So many Nodes are followed as they change. Why no more: docs/adr/0008-ipvs-layout.md. */
const mostFollowed = 500;
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
 * itself off. Nothing is read before the first external address is asked for, so that a cluster without such addresses pays
 * nothing. Until all is listed the answer is no. From then on few Nodes are followed; many are counted each minute, and listed again where their
 * number changes, or an endpoint turns up at an address that a Service has.
 */
export class ReservedAddresses {
  readonly #options: ReservedAddressesOptions;
  readonly #wakeup = new Wakeup();
  /** What was said of each address that was asked for; `wanted`: nothing yet. */
  readonly #asked = new Map<Address, 'wanted' | 'unknown' | 'free' | 'taken'>();
  /** Who waits for the next list. */
  readonly #waiting = new Set<AbortController>();
  #owners: ReadonlyMap<Address, string> = new Map();
  #apiServers: readonly Address[] = [];
  #nodeOwners: ReadonlyMap<Address, string> = new Map();
  /** Few enough to be followed. */
  #followed: FollowedNodes | undefined;
  #following: Promise<void> | undefined;
  /** The next look is at Nodes, too, where they are not followed. */
  #asksForNodes = false;
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
    this.#askForNodes();
    return `it is not known yet whether ${address} is an address of another Node, since Nodes are not listed yet (the log says why)`;
  }

  /** Waits, but not long, until there are answers for the addresses: a refusal that passes would only alarm people. */
  async ready(addresses: readonly Address[], signal: AbortSignal): Promise<void> {
    const unknown = addresses.filter((each) => !this.#isKnown(each));
    if (unknown.length === 0) return;
    for (const each of unknown) if (!this.#asked.has(each)) this.#asked.set(each, 'wanted');
    const wait = new AbortController();
    this.#waiting.add(wait);
    this.#askForNodes();
    await this.#options.clock.sleep(longestWaitMs, AbortSignal.any([signal, wait.signal]));
    this.#waiting.delete(wait);
  }

  /** To be fed with EndpointSlices: they may say sooner that an address is another's now. */
  readonly slices = sliceHints({
    apiServersMoved: () => {
      if (this.#asked.size > 0) this.#wakeup.ring();
    },
    endpointsCame: (addresses) => {
      if (this.#asked.size > 0 && addresses.some((each) => this.#isTaken(each))) this.#askAgain();
    },
  });

  /** Whether a Service has the address. */
  #isTaken(text: string): boolean {
    const address = parseAddress(text);
    return address !== undefined && this.#asked.get(address) === 'free';
  }

  /** Whoever makes slices must not make this node list Nodes without end. */
  #askAgain(): void {
    const freshAtMs = this.#listedAtMs + freshMs;
    this.#dueAtMs = Math.min(this.#dueAtMs, freshAtMs);
    if (this.#options.clock.monotonic() >= freshAtMs) this.#askForNodes();
  }

  #askForNodes(): void {
    this.#asksForNodes = true;
    this.#wakeup.ring();
  }

  /** Nodes and API servers were listed at least once. */
  get #isListed(): boolean {
    return this.#listedAtMs > Number.NEGATIVE_INFINITY;
  }

  get #isFollowed(): boolean {
    return this.#isListed && this.#followed?.isFollowed === true;
  }

  #isKnown(address: Address): boolean {
    const isFresh = this.#options.clock.monotonic() - this.#listedAtMs < freshMs;
    const isSure = isFresh || this.#isFollowed;
    return isSure || this.#owners.has(address) || this.#asked.get(address) === 'free';
  }

  /** Looks up what is asked for, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const isRung = await this.#wakeup.wait(clock, this.#untilLookMs(), signal);
      if (signal.aborted) break;
      if (this.#asked.size === 0) continue;
      this.#asksForNodes ||= clock.monotonic() >= this.#dueAtMs;
      if (isRung || this.#asksForNodes || (await this.#hasOtherCount(signal)))
        await this.#look(signal);
    }
    await this.#following;
  }

  #untilLookMs(): number {
    if (this.#asked.size === 0) return relistMs;
    const untilDueMs = Math.max(0, this.#dueAtMs - this.#options.clock.monotonic());
    return this.#isFollowed ? untilDueMs : Math.min(countMs, untilDueMs);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock, log, apiServers } = this.#options;
    const isOfNodes = this.#asksForNodes && this.#followed === undefined;
    this.#asksForNodes = false;
    const wasDueAtMs = this.#dueAtMs;
    this.#dueAtMs = clock.monotonic() + retryMs;
    try {
      if (isOfNodes) await this.#lookAtNodes(signal);
      this.#apiServers = await apiServers(signal);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, `cannot list Nodes: ${errorText(error)}`);
      return;
    }
    const isOfAll = isOfNodes || this.#followed !== undefined;
    if (isOfAll) this.#listedAtMs = clock.monotonic();
    this.#dueAtMs = isOfAll ? this.#listedAtMs + relistMs : wasDueAtMs;
    this.#settle();
    for (const each of this.#waiting) each.abort();
  }

  /** Lists Nodes, and goes on following them where there are few. */
  async #lookAtNodes(signal: AbortSignal): Promise<void> {
    await this.#following;
    this.#count = await this.#counted(signal);
    const { nodes, nodeName, log } = this.#options;
    const followed = new FollowedNodes({
      nodes,
      nodeName,
      most: mostFollowed,
      onChange: () => {
        if (this.#followed !== followed) return; // the first list, which is looked at as a whole
        this.#nodeOwners = followed.owners;
        if (this.#isListed) this.#settle();
      },
      log,
    });
    const following = followed.run(signal);
    this.#following = this.#untilEnded(following, signal);
    await Promise.race([aborted(followed.listed), following]);
    signal.throwIfAborted();
    this.#nodeOwners = followed.owners;
    if (followed.isFollowed) this.#followed = followed;
  }

  /** The Nodes are not followed any more where there are too many. */
  async #untilEnded(following: Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    try {
      await following;
    } catch (error) {
      log.warn({ err: error }, `Nodes are not followed any more: ${errorText(error)}`);
    }
    if (this.#followed === undefined || signal.aborted) return;
    this.#followed = undefined;
    this.#listedAtMs = clock.monotonic();
    this.#wakeup.ring();
  }

  /** Gives new answers to what was asked. */
  #settle(): void {
    const owners = new Map<Address, string>();
    for (const address of this.#apiServers) owners.set(address, 'the API server');
    for (const [address, owner] of this.#nodeOwners) owners.set(address, owner);
    this.#owners = owners;
    let isOther = false;
    for (const [address, before] of this.#asked) {
      const answer = owners.has(address) ? 'taken' : 'free';
      isOther ||= before !== 'wanted' && answer !== before;
      this.#asked.set(address, answer);
    }
    if (!isOther) return;
    this.#version++;
    this.#options.onChange();
  }

  async #hasOtherCount(signal: AbortSignal): Promise<boolean> {
    if (this.#isFollowed) return false;
    const count = await this.#counted(signal);
    const isOther = count !== undefined && count !== this.#count;
    this.#asksForNodes ||= isOther;
    return isOther;
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
}
