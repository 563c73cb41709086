import { isDeepStrictEqual } from 'node:util';
import type { GraphDelta, RuleGraph } from '../../graph/rule-graph.ts';
import type { Family } from '../../ip/address.ts';
import type { ListenerKey, Relay } from '../../relay/relay.ts';
import type { Backend } from '../backend.ts';
import type { LeftOutEndpoint, SyncReport, Unprogrammed } from '../sync-report.ts';
import { KeyedTable } from '../keyed-table.ts';
import { Turns } from '../turns.ts';
import { noSctp } from './listeners.ts';
import { Listening } from './listening.ts';
import type { PlaceKeeper } from './place-keeper.ts';
import { OwnPlaces } from './places.ts';
import { standListeners } from './standing.ts';
import type { StandingFrontend, StandingOptions, StandingState } from './standing.ts';
import { standingTable } from './standing-table.ts';
import type { KeptPlaces } from './state-file.ts';
import type { WantedListener, WantedListeners } from './state.ts';

/** What {@link StandingListeners} are made of. */
export interface StandingListenersParts {
  readonly options: StandingOptions;
  readonly relay: Pick<Relay, 'change' | 'admit'>;
  readonly keeper: Pick<PlaceKeeper, 'keepAddresses'>;
  /** Addresses of an earlier run. */
  readonly kept: KeptPlaces['addresses'];
  /** Shown to people: where each service listens, and later what of it has changed. */
  readonly print: (text: string) => void;
  /** Told after each sync how many listeners there are. */
  readonly onListening?: (count: number) => void;
}

/** In the order in which a Service of both is served. */
const families: readonly Family[] = ['ipv4', 'ipv6'];

/**
 * Listeners at places of their own, of both families: a place has one listener, whatever family a Service has. There are no
 * rules, so that nobody's rights are needed.
 */
export class StandingListeners {
  readonly #parts: StandingListenersParts;
  readonly #listening: Listening;
  readonly #places = new OwnPlaces();
  readonly #graphs = new Map<Family, RuleGraph>();
  readonly #turns = new Turns();
  #addresses: KeptPlaces['addresses'];
  #wanted: WantedListeners = new KeyedTable();
  /** The lines of the table that was printed last. */
  #printed: ReadonlySet<string> | undefined;

  constructor(parts: StandingListenersParts) {
    this.#parts = parts;
    this.#listening = new Listening(parts.relay);
    this.#addresses = parts.kept;
  }

  /** The part of one family. */
  backend(family: Family): Backend {
    const sync = async (graph: RuleGraph, delta: GraphDelta): Promise<SyncReport> =>
      this.#turns.take(async () => this.#sync(family, graph, delta));
    const [invalidate, nothing] = [(): void => {}, (): undefined => undefined];
    return { mode: 'userspace', sync, audit: async () => undefined, invalidate, desired: nothing };
  }

  async #sync(family: Family, graph: RuleGraph, delta: GraphDelta): Promise<SyncReport> {
    this.#graphs.set(family, graph);
    const graphs = families.flatMap((each) => this.#graphs.get(each) ?? []);
    const { options, keeper, onListening } = this.#parts;
    const state = standListeners(graphs, options, this.#addresses);
    this.#addresses = state.addresses;
    await keeper.keepAddresses(state.addresses);
    this.#wanted = sameWhereEqual(this.#wanted, state.listeners);
    await this.#listening.open(this.#wanted, this.#places, { leave: 'now' });
    await this.#listening.admit();
    onListening?.(this.#listening.count);
    if (this.#graphs.size === families.length) this.#print(state);
    return {
      full: delta.everything,
      rulesTotal: {},
      rulesWritten: {},
      unprogrammed: this.#unprogrammed(state, graph),
      leftOutEndpoints: leftOutOf(state, graph),
      refusedWrites: { full: 0, partial: 0 },
      failure: undefined,
    };
  }

  /** Frontends that are for other machines are no failure: the table says so. */
  #unprogrammed({ frontends }: StandingState, graph: RuleGraph): readonly Unprogrammed[] {
    const reasons = new Map<Unprogrammed['name'], string>();
    for (const { frontend, served } of frontends) {
      if (graph.frontends.get(frontend.id) !== frontend) continue; // of the other family
      const reason = this.#refusal(served);
      if (reason !== undefined && !reasons.has(frontend.origin.name))
        reasons.set(frontend.origin.name, reason);
    }
    return [...reasons]
      .map(([name, reason]) => ({ name, reason }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  #refusal(served: StandingFrontend['served']): string | undefined {
    if ('reason' in served) return served.reason === noSctp ? served.reason : undefined;
    const standing = this.#listening.standings.get(served.key);
    return standing !== undefined && 'refused' in standing ? standing.refused : undefined;
  }

  #print(state: StandingState): void {
    const text = standingTable(state, this.#listening.standings);
    const lines = text.split('\n').filter((line) => line !== '');
    const before = this.#printed;
    this.#printed = new Set(lines.map(withoutWidths));
    if (before === undefined) {
      this.#parts.print(text);
      return;
    }
    const changed = lines.filter((line) => !before.has(withoutWidths(line)));
    const names = new Set(lines.map(frontendOf));
    const gone = [...before].filter((line) => !names.has(frontendOf(line)));
    const said = [...gone.map((line) => `${frontendOf(line)}  - (gone)`), ...changed];
    if (said.length > 0) this.#parts.print(`${said.join('\n')}\n`);
  }
}

/** Of the graph's family: each is told of its own. */
function leftOutOf({ leftOut }: StandingState, { family }: RuleGraph): readonly LeftOutEndpoint[] {
  return leftOut.filter(({ endpoint }) => endpoint.startsWith('[') === (family === 'ipv6'));
}

/** Columns are two spaces apart, and as wide as their longest cell. */
function withoutWidths(line: string): string {
  return line.split(/ {2,}/).join('  ');
}

/** The first two cells of a line: of which service what. */
function frontendOf(line: string): string {
  return line.split(/ {2,}/).slice(0, 2).join('  ');
}

/** The listeners, each of which is the one before where nothing of it differs. */
function sameWhereEqual(
  before: WantedListeners,
  now: ReadonlyMap<ListenerKey, WantedListener>,
): WantedListeners {
  const changes = new Map<ListenerKey, WantedListener | undefined>();
  for (const key of before.keys()) if (!now.has(key)) changes.set(key, undefined);
  for (const [key, listener] of now) {
    if (!isDeepStrictEqual(before.get(key), listener)) changes.set(key, listener);
  }
  return before.with(changes);
}
