import { hostPort } from '../../ip/address.ts';
import type { PortRange } from '../../ip/port-range.ts';
import { portRangeText } from '../../ip/port-range.ts';
import type { ListenerKey, RelayPool, Route } from '../../relay/relay.ts';
import type { LeftOutEndpoint } from '../sync-report.ts';
import { membersOf } from '../iptables/diff-sets.ts';
import { renderTables } from '../iptables/render.ts';
import { KeyedTable } from '../keyed-table.ts';
import type { StandingState } from './standing.ts';
import { standingTable } from './standing-table.ts';
import type {
  ListenerPlace,
  ListenerPort,
  ListenerPorts,
  UserspaceFeatures,
  UserspaceState,
  WantedListener,
  WantedListeners,
} from './state.ts';

/** Where the ports of a rendered text begin: the agent chooses them at random. */
const firstPort = 20_000;

/** Ports for a text that is the same everywhere: one after the other, in the order of the keys. */
export function makeBelievePorts(
  listeners: WantedListeners,
  range: PortRange = { first: firstPort, last: 65_535 },
): ListenerPorts {
  const keys = [...listeners.keys()].toSorted();
  const ports = keys.map((key, i): [ListenerKey, ListenerPort] => {
    const port = range.first + i;
    if (port <= range.last) return [key, { port }];
    return [key, { refused: `no port is free: all of ${portRangeText(range)} are in use` }];
  });
  return new KeyedTable<ListenerKey, ListenerPort>().with(new Map(ports));
}

/**
 * What would be applied on a node without rules: listeners with where they lead, then the sections that tools load. Lines
 * with `#` are for readers.
 */
export function renderUserspace(
  state: UserspaceState,
  ports: ListenerPorts,
  features: UserspaceFeatures,
): string {
  const { family, address, rules } = state;
  const tool = `${family === 'ipv4' ? 'iptables' : 'ip6tables'}-restore --noflush`;
  const standing = [...state.listeners.values()].flatMap((listener) => {
    const port = ports.get(listener.key);
    if (address === undefined || port === undefined || 'refused' in port) return [];
    return { listener, place: { address, port: port.port, otherwise: undefined } };
  });
  const sets = [...rules.sets.values()].flatMap((set) => [
    `create ${set.name} ${set.create}`,
    ...[...membersOf(set)].toSorted(inOrder).map((member) => `add ${set.name} ${member}`),
  ]);
  const lines = [
    `# switchyard, mode userspace, ${family}: for a node without our rules; each section is loaded by the tool it names`,
    `# features: ${featuresText(features)}`,
    `# ports are make-believe: the agent chooses them, here they are given in the order of the listeners`,
    ...state.refused.map(({ key, reason }) => `# refused: ${key}: ${reason}`),
    ...state.leftOut.map(leftOutLine),
    '## listeners: switchyard',
    ...standing
      .toSorted((a, b) => inOrder(a.listener.key, b.listener.key))
      .flatMap(({ listener, place }) => listenerLines(listener, place)),
    ...(sets.length > 0 ? ['## sets: ipset restore', ...sets] : []),
    `## rules: ${tool}`,
    ...renderTables(rules),
  ];
  return `${lines.join('\n')}\n`;
}

function leftOutLine({ name, endpoint, reason }: LeftOutEndpoint): string {
  return `# left out: ${name} ${endpoint}: ${reason}`;
}

/** What would be opened where nobody makes rules. */
export function renderStanding(state: StandingState): string {
  const listeners = [...state.listeners.values()].toSorted((a, b) => inOrder(a.key, b.key));
  const lines = [
    '# switchyard, mode userspace, without portals: for a machine on which nobody makes rules',
    ...state.leftOut.map(leftOutLine),
    '## places',
    standingTable(state).trimEnd(),
    '## listeners: switchyard',
    ...listeners.flatMap((each) => (each.place ? listenerLines(each, each.place) : [])),
  ];
  return `${lines.join('\n')}\n`;
}

function featuresText({ guard, comments }: UserspaceFeatures): string {
  const by = guard === 'ipset' ? 'ipset' : `range (${portRangeText(guard)})`;
  return `guard=${by} comments=${comments}`;
}

/** A listener, who gets in, and where to. */
function listenerLines(
  { key, protocol, routes }: WantedListener,
  { address, port, otherwise }: ListenerPlace,
): readonly string[] {
  const other = otherwise === undefined ? '' : ` (or ${otherwise})`;
  const where = `${protocol} ${hostPort(address, port)}${other}`;
  return [`listen ${where} for ${key}`, ...routes.flatMap((route) => routeLines(route, protocol))];
}

function routeLines(
  { sources, to }: Route,
  protocol: WantedListener['protocol'],
): readonly string[] {
  const from = sources === undefined ? 'anywhere' : sources.join(',');
  if (to === 'refuse') return [`  from ${from}: refused`];
  const endpoints = to.endpoints.map(
    ({ address, port, weight }) => `    ${hostPort(address, port)} weight ${weight}`,
  );
  return [`  from ${from}: ${poolText(to, protocol)}`, ...endpoints];
}

function poolText(pool: RelayPool, protocol: WantedListener['protocol']): string {
  const { affinitySeconds, udpIdleMs, drainSeconds, proxyProtocol } = pool;
  return [
    'in turns',
    ...(affinitySeconds === undefined ? [] : [`a client stays for ${affinitySeconds} s`]),
    ...(protocol === 'UDP' ? [`a flow ends after ${udpIdleMs} ms`] : []),
    `drained for ${drainSeconds} s`,
    ...(proxyProtocol ? ['PROXY protocol'] : []),
  ].join(', ');
}

const numbers = new Intl.Collator('en', { numeric: true });

/** As people sort: 10.96.0.9 before 10.96.0.10. */
function inOrder(a: string, b: string): number {
  return numbers.compare(a, b) || (a < b ? -1 : 1);
}
