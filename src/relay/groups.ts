import { hostPort } from '../ip/address.ts';
import type { Entry } from './entry.ts';
import type { KeptEndpoint } from './messages.ts';
import type { Listener, ListenerKey } from './relay.ts';

/** By group, where it leads: the `ip:port` of endpoints, with the seconds that connections have where one leaves. */
export type Leads = ReadonlyMap<string, ReadonlyMap<string, number>>;

/**
 * Which listeners are of one group. A connection whose own listener does not lead to its endpoint any more stays as long as
 * another listener of the group does: to whoever uses the service nothing has changed.
 */
export class Groups {
  readonly #members = new Map<string, Set<ListenerKey>>();

  /** The listener is there, or has connections. */
  add({ key, group }: Listener): void {
    const members = this.#members.get(group ?? key);
    if (members) members.add(key);
    else this.#members.set(group ?? key, new Set([key]));
  }

  delete({ key, group }: Listener): void {
    const members = this.#members.get(group ?? key);
    members?.delete(key);
    if (members?.size === 0) this.#members.delete(group ?? key);
  }

  /** Whether its group has nobody else. */
  isAlone({ key, group }: Listener): boolean {
    return this.#members.get(group ?? key)?.size === 1;
  }

  /** All of the groups of these listeners. */
  around(listeners: Iterable<Listener>): ReadonlySet<ListenerKey> {
    const keys = new Set<ListenerKey>();
    const groups = new Set(Array.from(listeners, ({ key, group }) => group ?? key));
    for (const group of groups) for (const key of this.#members.get(group) ?? []) keys.add(key);
    return keys;
  }
}

/** What each group leads to. */
export function leadsOf(listeners: Iterable<Listener>): Leads {
  const groups = new Map<string, Map<string, number>>();
  for (const { key, group = key, routes } of listeners) {
    const leads = groups.get(group) ?? new Map<string, number>();
    groups.set(group, leads);
    for (const { to } of routes) {
      if (to === 'refuse') continue;
      for (const { address, port } of to.endpoints)
        leads.set(hostPort(address, port), to.drainSeconds);
    }
  }
  return groups;
}

/**
 * The endpoints beside its own to which connections of a listener stay: those it once led to, and its group still does.
 * `now`: the listener as it is to be; undefined: it leaves.
 */
export function keptOf(
  before: Pick<Entry, 'listener' | 'kept'>,
  now: Listener | undefined,
  groups: Leads,
): readonly KeptEndpoint[] {
  const { key, group = key } = before.listener;
  const leads = groups.get(group);
  if (leads === undefined) return none;
  const own = now === undefined ? undefined : leadsOf([now]).get(now.group ?? now.key);
  const former = new Set(before.kept.map(({ name }) => name));
  for (const name of leadsOf([before.listener]).get(group)?.keys() ?? []) former.add(name);
  const kept = [...former].flatMap((name): readonly KeptEndpoint[] => {
    const drainSeconds = leads.get(name);
    return drainSeconds === undefined || own?.has(name) ? [] : [{ name, drainSeconds }];
  });
  return kept.length === 0 ? none : kept;
}

const none: readonly KeptEndpoint[] = [];
