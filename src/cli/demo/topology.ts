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

const nodeSettings: Readonly<Record<string, string>> = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/default/forwarding': '1',
  // Asymmetric paths are normal here, and "all" may have been inherited from the machine; redirects
  // would use up the few ICMP messages a second a host may get, and refusals are ICMP messages.
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
  'net/ipv4/conf/all/send_redirects': '0',
  'net/ipv4/conf/default/send_redirects': '0',
  'net/ipv4/icmp_ratelimit': '0',
  'net/ipv6/icmp/ratelimit': '0',
};

/** Duplicate address detection would keep the first packets of each link waiting. */
const noDad = (device: string): Readonly<Record<string, string>> => ({
  [`net/ipv6/conf/${device}/accept_dad`]: '0',
  [`net/ipv6/conf/${device}/dad_transmits`]: '0',
});

/**
 * Builds a node with what is attached to it. Every pod has a link of its own and all traffic is
 * routed: on a bridge, answers between pods would pass the node by unless br_netfilter is loaded.
 */
export async function buildNode(
  namespaces: Namespaces,
  attachments: readonly Attachment[],
  defaultVia: readonly string[],
): Promise<void> {
  await namespaces.create([nodeRole, ...attachments.map(({ role }) => role)]);
  await namespaces.setUp(nodeRole, { ...nodeSettings, ...noDad('default') }, [
    'link set lo up',
    ...attachments.flatMap(({ role }) => [
      `link add ${role} type veth peer name eth0 netns ${namespaces.name(role)}`,
      `link set ${role} up`,
    ]),
    ...attachments.flatMap(nodeCommands),
    ...defaultVia.map((via) => `route add default via ${via}`),
  ]);
  await Promise.all(
    attachments.map(async (each) =>
      namespaces.setUp(each.role, noDad('eth0'), attachedCommands(each)),
    ),
  );
}

/** What the node does to its end of a link. */
function nodeCommands({ role, addresses, node, routes = [] }: Attachment): readonly string[] {
  const single = addresses.filter((address) => /\/(32|128)$/.test(address));
  return [
    ...node.map((address) => `addr add ${address} dev ${role}${nodad(address)}`),
    ...single.map((address) => `route replace ${address} dev ${role}`),
    ...routes.map(
      ({ prefix, via }) =>
        `route replace ${prefix} ${via === undefined ? '' : `via ${via} `}dev ${role}`,
    ),
  ];
}

function attachedCommands({ addresses, node, anyIp = [] }: Attachment): readonly string[] {
  return [
    'link set lo up',
    'link set eth0 up',
    ...addresses.map((address) => `addr add ${address} dev eth0${nodad(address)}`),
    ...gatewaysOf(node).map((gateway) => `route add default via ${gateway} dev eth0 onlink`),
    ...anyIp.map((prefix) => `route add local ${prefix} dev lo`),
  ];
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
