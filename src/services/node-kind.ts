import type { Kind, Slimmed } from '../informer/kind.ts';
import { parseAddress } from '../ip/address.ts';
import { FieldReader, isRaw } from './field-reader.ts';
import type { Raw } from './field-reader.ts';
import { labelOf, metaOf } from './object-meta.ts';
import type { NodeObject } from './objects.ts';
import { nodeWire } from './wire-schemas.ts';

/** Every Node: for commands that read manifests. */
export const anyNodeKind: Kind<NodeObject> = {
  apiVersion: 'v1',
  kind: 'Node',
  resource: 'nodes',
  wire: nodeWire,
  slim: slimNode,
};

/** This node alone. */
export function nodeKind(nodeName: string): Kind<NodeObject> {
  return {
    ...anyNodeKind,
    fieldSelector: `metadata.name=${nodeName}`,
    selects: (raw) => isRaw(raw) && isRaw(raw['metadata']) && raw['metadata']['name'] === nodeName,
  };
}

function slimNode(value: unknown): Slimmed<NodeObject> {
  const reader = new FieldReader();
  const { problems } = reader;
  if (!isRaw(value))
    return { object: undefined, problems: [{ field: '', reason: 'expected an object' }] };
  const meta = metaOf(value, reader, false);
  if (meta === undefined) return { object: undefined, problems };
  const spec = reader.object(value, 'spec', 'spec');
  const status = reader.object(value, 'status', 'status');
  const podCIDRs = reader.cidrs(spec, 'podCIDRs', 'spec.podCIDRs');
  const podCIDR = reader.text(spec, 'podCIDR', 'spec.podCIDR') ?? '';
  const object: NodeObject = {
    meta,
    addresses: reader
      .objects(status, 'addresses', 'status.addresses')
      .map(([raw, path]) => addressOf(raw, path, reader)),
    podCIDRs: podCIDRs.length > 0 || podCIDR === '' ? podCIDRs : [podCIDR],
    zone: labelOf(value, reader, 'topology.kubernetes.io/zone'),
    taintKeys: reader
      .objects(spec, 'taints', 'spec.taints')
      .flatMap(([raw, path]) => reader.text(raw, 'key', `${path}.key`) ?? []),
    deleting:
      isRaw(value['metadata']) && typeof value['metadata']['deletionTimestamp'] === 'string',
  };
  return { object, problems };
}

/** Names of hosts stand beside addresses, under types of their own. */
function addressOf(raw: Raw, path: string, reader: FieldReader): NodeObject['addresses'][number] {
  const type = reader.text(raw, 'type', `${path}.type`) ?? '';
  const address = reader.text(raw, 'address', `${path}.address`) ?? '';
  if (type.endsWith('IP') && address !== '' && parseAddress(address) === undefined) {
    reader.report(`${path}.address`, `expected an IP address, got ${JSON.stringify(address)}`);
  }
  return { type, address };
}
