import type { DetectLocalConfig } from '../config/proxy-config.ts';
import { closest } from '../config/suggest.ts';
import type { NetworkShape } from '../host/network-shape.ts';
import { cidrAddress, cidrContains, cidrFamily, parseCidr, prefixLength } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { NodeObject } from '../services/objects.ts';
import { registered } from './check.ts';
import type { Subject } from './check.ts';
import { failure, kernelWays, ok, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { ApiReading, NodeReading } from './readings.ts';

interface NodeFacts {
  readonly api: ApiReading;
  readonly shape: NetworkShape;
}

/** Whether this node is a Node, and whether its pods can be told from others. */
export const node = registered<NodeFacts>({
  id: 'node',
  read: async (readings) => ({ api: await readings.api(), shape: await readings.shape() }),
  judge: ({ api, shape }, subject) => {
    const reading = api.kind === 'answered' ? api.node : undefined;
    const found = reading?.kind === 'found' ? reading.node : undefined;
    return [nodeName(reading, subject), ...pods(found, shape, subject)];
  },
});

function nodeName(reading: NodeReading | undefined, { nodeName: name }: Subject): Finding {
  const id = 'node.name';
  if (reading === undefined) return skipped(id, `${name}; no API server to ask for its Node`);
  switch (reading.kind) {
    case 'unread':
      return skipped(id, `${name}: ${reading.why}`);
    case 'absent': {
      const guess = closest(name, reading.others);
      const some = reading.others.slice(0, 3).join(', ');
      const others = guess === undefined ? `Nodes there are ${some}` : `did you mean ${guess}?`;
      const cure = `give --hostname-override the name of this machine's Node${reading.others.length === 0 ? '' : `: ${others}`}`;
      return failure(
        id,
        `there is no Node ${name}: no endpoint is local, and the node's address is not known`,
        cure,
      );
    }
    case 'found': {
      const addresses = reading.node.addresses.filter(({ type }) => type === 'InternalIP');
      const shown = addresses.map(({ address }) => address).join(', ');
      if (addresses.length > 0) return ok(id, `Node ${name}, ${shown}`);
      const cure =
        'see why the kubelet or the cloud controller gives it none; until then --bind-address';
      return warning(id, `Node ${name} has no InternalIP`, cure);
    }
    default:
      return reading satisfies never;
  }
}

/** By what pods of this node are recognised: the configuration against what is there. */
function pods(
  found: NodeObject | undefined,
  shape: NetworkShape,
  { config }: Subject,
): readonly Finding[] {
  const own = (found?.podCIDRs ?? []).flatMap((text) => parseCidr(text) ?? []);
  switch (config.detectLocal.mode) {
    case 'ClusterCIDR':
      return [clusterCidr(config.clusterCidrs, own)];
    case 'NodeCIDR':
      return [nodeCidr(found, own)];
    case 'BridgeInterface':
    case 'InterfaceNamePrefix':
      return [interfaces(config.detectLocal, shape)];
    default:
      return config.detectLocal satisfies never;
  }
}

const id = 'node.pods';

function clusterCidr(configured: readonly Cidr[], own: readonly Cidr[]): Finding {
  if (configured.length === 0) {
    const text =
      'without --cluster-cidr pods are not told from others: traffic from outside to cluster IPs is not masqueraded';
    const cure =
      own.length === 0
        ? 'give --cluster-cidr, or another --detect-local-mode'
        : `give --cluster-cidr (this Node's pods are in ${own.join(', ')}), or --detect-local-mode=NodeCIDR`;
    return warning(id, text, cure, kernelWays);
  }
  const outside = own.filter((cidr) => !configured.some((each) => holds(each, cidr)));
  if (outside.length > 0) {
    const text = `this Node's pods are in ${outside.join(', ')}, outside of --cluster-cidr=${configured.join(',')}: they are treated as strangers`;
    return warning(
      id,
      text,
      'give --cluster-cidr the pods’ addresses of the whole cluster',
      kernelWays,
    );
  }
  const rest = own.length === 0 ? '' : `, this Node's ${own.join(', ')} among them`;
  return ok(id, `pods are in ${configured.join(', ')}${rest}`, kernelWays);
}

function holds(outer: Cidr, inner: Cidr): boolean {
  if (cidrFamily(outer) !== cidrFamily(inner)) return false;
  return prefixLength(outer) <= prefixLength(inner) && cidrContains(outer, cidrAddress(inner));
}

function nodeCidr(found: NodeObject | undefined, own: readonly Cidr[]): Finding {
  if (own.length > 0)
    return ok(id, `pods are in ${own.join(', ')} (this Node's podCIDRs)`, kernelWays);
  if (found === undefined) return skipped(id, 'this Node’s podCIDRs are not known', kernelWays);
  const text =
    '--detect-local-mode=NodeCIDR, and the Node has no podCIDRs: the agent waits for them';
  const cure =
    'let the controller manager allocate them (--allocate-node-cidrs), or choose another --detect-local-mode';
  return failure(id, text, cure, kernelWays);
}

type ByInterface = Extract<DetectLocalConfig, { mode: 'BridgeInterface' | 'InterfaceNamePrefix' }>;

function interfaces(detect: ByInterface, { links }: NetworkShape): Finding {
  const isBridge = detect.mode === 'BridgeInterface';
  const wanted = isBridge ? detect.name : `${detect.prefix}*`;
  const there = links.filter((link) =>
    isBridge ? link === detect.name : link.startsWith(detect.prefix),
  );
  if (there.length > 0)
    return ok(id, `pods are behind ${there.slice(0, 3).join(', ')}`, kernelWays);
  const flag = isBridge ? '--pod-bridge-interface' : '--pod-interface-name-prefix';
  const text = `no interface ${wanted} is here (yet): no pod is recognised`;
  const cure = `see ip link for what pods are behind, and give it ${flag}`;
  return warning(id, text, cure, kernelWays);
}
