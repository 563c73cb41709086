import type { Namespaces } from '../../host/namespaces.ts';

/** A namespace joined to the node by a link of its own, whose default route is the node. */
export interface Attachment {
  /** Also the name of the node's end of the link. */
  readonly role: string;
  /** Its own addresses with prefix lengths: `10.244.0.5/32`. */
  readonly addresses: readonly string[];
  /** The node's addresses on the link, likewise; the first of each family is the gateway. */
  readonly node: readonly string[];
  /** Prefixes beyond the addresses that the node reaches through it. */
  readonly routes?: readonly { readonly prefix: string; readonly via?: string }[];
  /** Prefixes all of whose addresses are its own, without an address a client. */
  readonly anyIp?: readonly string[];
}

const nodeRole = 'node';

/**
 * Builds a node with what is attached to it. Every pod has a link of its own and all traffic is
 * routed: on a bridge, answers between pods would pass the node by unless br_netfilter is loaded.
 */
export async function buildNode(
  namespaces: Namespaces,
  attachments: readonly Attachment[],
  defaultVia: readonly string[],
): Promise<void> {
  const roles = [nodeRole, ...attachments.map(({ role }) => role)];
  await namespaces.add(roles);
  // Duplicate address detection would keep the first packets of each link waiting.
  const dad = ['net/ipv6/conf/default/accept_dad', 'net/ipv6/conf/default/dad_transmits'];
  await Promise.all(roles.map(async (role) => namespaces.set(role, dad, '0')));
  await namespaces.set(
    nodeRole,
    ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding', 'net/ipv6/conf/default/forwarding'],
    '1',
  );
  // Asymmetric paths are normal here, and "all" may have been inherited from the machine; redirects
  // would use up the few ICMP messages a second a host may get, and refusals are ICMP messages.
  const off = ['rp_filter', 'send_redirects'].flatMap((key) => [
    `net/ipv4/conf/all/${key}`,
    `net/ipv4/conf/default/${key}`,
  ]);
  const rates = ['net/ipv4/icmp_ratelimit', 'net/ipv6/icmp/ratelimit'];
  await namespaces.set(nodeRole, [...off, ...rates], '0');
  await Promise.all(attachments.map(async (each) => attach(namespaces, each)));
  await namespaces.ip(
    nodeRole,
    defaultVia.map((via) => `route add default via ${via}`),
  );
}

async function attach(namespaces: Namespaces, attachment: Attachment): Promise<void> {
  const { role, addresses, node, routes = [], anyIp = [] } = attachment;
  await namespaces.connect([
    { from: { role: nodeRole, device: role }, to: { role, device: 'eth0' } },
  ]);
  const gateways = gatewaysOf(node);
  await namespaces.ip(role, [
    ...addresses.map((address) => `addr add ${address} dev eth0${nodad(address)}`),
    ...gateways.map((gateway) => `route add default via ${gateway} dev eth0 onlink`),
    ...anyIp.map((prefix) => `route add local ${prefix} dev lo`),
  ]);
  const single = addresses.filter((address) => /\/(32|128)$/.test(address));
  await namespaces.ip(nodeRole, [
    ...node.map((address) => `addr add ${address} dev ${role}${nodad(address)}`),
    ...single.map((address) => `route replace ${address} dev ${role}`),
    ...routes.map(
      ({ prefix, via }) =>
        `route replace ${prefix} ${via === undefined ? '' : `via ${via} `}dev ${role}`,
    ),
  ]);
}

/** Without it an IPv6 address may not be used for a second or two. */
function nodad(address: string): string {
  return address.includes(':') ? ' nodad' : '';
}

function gatewaysOf(addresses: readonly string[]): readonly string[] {
  const plain = addresses.map((address) => address.split('/')[0] ?? '');
  const first = [
    plain.find((address) => !address.includes(':')),
    plain.find((address) => address.includes(':')),
  ];
  return first.filter((address) => address !== undefined);
}
