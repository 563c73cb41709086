import { comment } from '../../src/backends/iptables/static-rules.ts';
import { closedSet, ipvsSet } from '../../src/backends/ipvs/sets.ts';
import { realServerKey, virtualServerKey } from '../../src/backends/ipvs/servers.ts';
import type { IpvsState, VirtualServer } from '../../src/backends/ipvs/state.ts';
import { familyOf, parseAddress } from '../../src/ip/address.ts';
import type { Address } from '../../src/ip/address.ts';
import type { Protocol } from '../../src/services/service-port.ts';
import { chain, ipset, jump, originOf, rule, state } from './iptables-states.ts';

/** `10.96.0.1:80` or `[fd00::1]:80` in its parts. */
function place(text: string): { readonly address: Address; readonly port: number } {
  const at = text.lastIndexOf(':');
  const address = parseAddress(text.slice(0, at).replaceAll(/[[\]]/g, ''));
  if (address === undefined) throw new Error(`${text} has no address`);
  return { address, port: Number(text.slice(at + 1)) };
}

/** The virtual server of `default/NAME` at `ADDRESS:PORT`; real servers as `10.1.0.1:80` or `10.1.0.1:80=3`. */
export function virtualServer(
  name: string,
  at: string,
  realServers: readonly string[],
  fields: Partial<VirtualServer> = {},
): VirtualServer {
  const protocol: Protocol = fields.protocol ?? 'TCP';
  const { address, port } = place(at);
  const reals = realServers.map((text) => {
    const [where = '', weight = '1'] = text.split('=');
    return { ...place(where), weight: Number(weight) };
  });
  return {
    key: virtualServerKey(protocol, address, port),
    address,
    protocol,
    port,
    scheduler: 'rr',
    schedulerFlags: [],
    persistentSeconds: undefined,
    realServers: new Map(reals.map((real) => [realServerKey(real), real])),
    origin: originOf(name),
    ...fields,
  };
}

/** A state of some virtual servers, their addresses bound; `rejected` names frontends without endpoints. */
export function smallState(
  servers: readonly VirtualServer[],
  rejected: readonly string[] = [],
): IpvsState {
  const family = servers.some(({ address }) => familyOf(address) === 'ipv6') ? 'ipv6' : 'ipv4';
  const rejectedPlaces = rejected.map(place);
  const served = servers.map(({ address, protocol, port }) => ({ address, protocol, port }));
  const bound = new Map(
    [...served, ...rejectedPlaces].map(({ address }) => [address, originOf('bound')]),
  );
  const inet = family === 'ipv4' ? 'inet' : 'inet6';
  const sets = {
    SERVED: served.map(
      ({ address, protocol, port }) => `${address},${protocol.toLowerCase()}:${port}`,
    ),
    REJECTED: rejectedPlaces.map(({ address, port }) => `${address},tcp:${port}`),
  };
  return {
    family,
    servers: new Map(servers.map((server) => [server.key, server])),
    addresses: new Map([...bound].map(([address, origin]) => [address, { address, origin }])),
    refused: [],
    shortfalls: [],
    rules: state({
      family,
      nat: [chain('KUBE-SERVICES', 'root', rule('-j RETURN'))],
      filter: [
        chain('KUBE-SERVICES', 'root'),
        chain('KUBE-IPVS-FILTER', 'root', rule('-j RETURN')),
      ],
      jumps: [
        jump('nat', 'OUTPUT', 'KUBE-SERVICES', comment('kubernetes service portals')),
        jump('filter', 'INPUT', 'KUBE-IPVS-FILTER', comment('kubernetes ipvs access filter')),
      ],
      sets: [
        closedSet(family),
        ...(['SERVED', 'REJECTED'] as const).map((role) =>
          ipset(ipvsSet(role, family), `hash:ip,port family ${inet}`, sets[role].toSorted()),
        ),
      ],
    }),
  };
}
