import type { Address, Family } from '../../ip/address.ts';
import type { PortRange } from '../../ip/port-range.ts';
import type { ListenerKey, RelayProtocol } from '../../relay/relay.ts';
import { protocolText } from '../iptables/chain-names.ts';
import { arePrintsOf } from '../iptables/printed-rules.ts';
import { jumpKey } from '../iptables/read.ts';
import type { Observed } from '../iptables/read.ts';
import { SetVersions } from '../iptables/set-versions.ts';
import { comment, staticRule } from '../iptables/static-rules.ts';
import type { Chain, IpsetSpec, IptablesState, Jump, Rule, SetName } from '../iptables/state.ts';
import { userspaceGuard } from '../iptables/userspace-names.ts';
import { KeyedTable } from '../keyed-table.ts';
import type { ListenerPort, ListenerPorts, UserspaceFeatures, WantedListeners } from './state.ts';

/** `KUBE-USERSPACE-PORTS`, IPv6 `KUBE-6-USERSPACE-PORTS`: `192.168.0.2,tcp:20017` of each listener. */
export function portsSet(family: Family): SetName {
  return `${family === 'ipv4' ? 'KUBE' : 'KUBE-6'}-USERSPACE-PORTS` as SetName;
}

/** The way into the guard. */
export const guardJump: Jump = {
  table: 'filter',
  from: 'INPUT',
  to: userspaceGuard,
  match: comment('kubernetes userspace proxy ports'),
};

const throughPortal = '-m conntrack --ctstate DNAT';
const accepted = comment('through a portal');
const dropped = comment('past the portals');

/**
 * What comes through a portal is accepted: in iptables mode the node's own INPUT rules are not asked about a service's
 * connections either. Whatever else is sent to a listener's port is dropped; a range may hold ports of other programs, of
 * whose connections only new ones can be told.
 */
export function guardOf(
  family: Family,
  address: Address | undefined,
  { guard }: UserspaceFeatures,
): Chain {
  const rules =
    guard === 'ipset' ? setRules(family) : address === undefined ? [] : rangeRules(address, guard);
  return { name: userspaceGuard, role: 'root', rules };
}

function setRules(family: Family): readonly Rule[] {
  return [
    staticRule(`-m set ! --match-set ${portsSet(family)} dst,dst -j RETURN`),
    staticRule(`${accepted} ${throughPortal} -j ACCEPT`),
    staticRule(`${dropped} -j DROP`),
  ];
}

function rangeRules(address: Address, { first, last }: PortRange): readonly Rule[] {
  const to = `-d ${address}/${address.includes(':') ? 128 : 32}`;
  const ports = first === last ? `${first}` : `${first}:${last}`;
  return (['tcp', 'udp'] as const).flatMap((protocol) => {
    const rule = (why: string, state: string, target: string): Rule =>
      staticRule(`${to} -p ${protocol} ${why} ${state} -m ${protocol} --dport ${ports} ${target}`);
    return [
      rule(accepted, throughPortal, '-j ACCEPT'),
      rule(dropped, '-m conntrack --ctstate NEW', '-j DROP'),
    ];
  });
}

/** Whether tables that were read hold the guard of a state, and its way in. */
export function guardHolds(
  { filter }: Observed,
  { tables }: Pick<IptablesState, 'tables'>,
): boolean {
  const wanted = tables.filter.get(userspaceGuard);
  const found = filter.chains.get(userspaceGuard);
  if (wanted === undefined || found === undefined) return false;
  return arePrintsOf(wanted, found) && filter.jumps.has(jumpKey(guardJump));
}

/** The set of the listeners' ports, as it goes from one state to the next. */
export class GuardedPorts {
  readonly #set: SetVersions;
  readonly #members = new Map<ListenerKey, string>();
  #listeners: WantedListeners = new KeyedTable();
  #ports: ListenerPorts = new KeyedTable();
  #address: Address | undefined;

  constructor(family: Family) {
    const inet = family === 'ipv4' ? 'inet' : 'inet6';
    const create = `hash:ip,port family ${inet} hashsize 1024 maxelem 262144`;
    this.#set = new SetVersions(portsSet(family), create);
  }

  /** The set for these listeners, at these ports of the address. */
  publish(
    address: Address | undefined,
    listeners: WantedListeners,
    ports: ListenerPorts,
  ): IpsetSpec {
    const hasMoved = address !== this.#address;
    const keys = hasMoved
      ? [...this.#members.keys(), ...listeners.keys()]
      : [...changedKeys(listeners, this.#listeners), ...changedKeys(ports, this.#ports)];
    [this.#address, this.#listeners, this.#ports] = [address, listeners, ports];
    const before = new Map(keys.map((key) => [key, this.#members.get(key)]));
    for (const member of before.values()) if (member !== undefined) this.#set.remove(member);
    for (const key of before.keys()) {
      const member = memberOf(address, listeners.get(key)?.protocol, ports.get(key));
      if (member === undefined) this.#members.delete(key);
      else {
        this.#members.set(key, member);
        this.#set.put(member);
      }
    }
    return this.#set.publish();
  }
}

function changedKeys<T>(
  now: KeyedTable<ListenerKey, T>,
  before: KeyedTable<ListenerKey, T>,
): readonly ListenerKey[] {
  return Array.from(now.changesFrom(before), ([key]) => key);
}

function memberOf(
  address: Address | undefined,
  protocol: RelayProtocol | undefined,
  port: ListenerPort | undefined,
): string | undefined {
  if (address === undefined || protocol === undefined) return undefined;
  if (port === undefined || 'refused' in port) return undefined;
  return `${address},${protocolText(protocol)}:${port.port}`;
}
