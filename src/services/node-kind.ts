import { within } from '../informer/kind.ts';
import type { Kind, KubeObject, ObjectMeta, Slimmed } from '../informer/kind.ts';
import { parseAddress } from '../ip/address.ts';
import { isRaw } from './field-reader.ts';
import type { FieldReader, Raw } from './field-reader.ts';
import { labelOf, slimNamed } from './object-meta.ts';
import type { NodeObject } from './objects.ts';
import { nodeWire } from './wire-schemas.ts';

/** Every Node. */
export const anyNodeKind: Kind<NodeObject> = {
  apiVersion: 'v1',
  kind: 'Node',
  resource: 'nodes',
  wire: nodeWire,
  slim: (value) => slimNamed(value, false, readNode),
};

/** A Node, and beside it all that the API has of it. */
export interface WholeNode extends KubeObject {
  readonly node: NodeObject;
  readonly whole: Raw;
}

/** This node alone, of an API server, which selects it; with all that is in it. */
export function wholeNodeKind(nodeName: string): Kind<WholeNode> {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    resource: 'nodes',
    fieldSelector: `metadata.name=${nodeName}`,
    slim: slimWhole,
  };
}

/** This node alone, of an API server, which selects it. */
export function nodeKind(nodeName: string): Kind<NodeObject> {
  const whole = wholeNodeKind(nodeName);
  return {
    ...anyNodeKind,
    fieldSelector: `metadata.name=${nodeName}`,
    within: within(whole, ({ node }) => node),
  };
}

function slimWhole(value: unknown): Slimmed<WholeNode> {
  return slimNamed(value, false, (whole, meta, reader) => {
    const node = readNode(whole, meta, reader);
    return { meta, node, whole };
  });
}

function readNode(value: Raw, meta: ObjectMeta, reader: FieldReader): NodeObject {
  const spec = reader.object(value, 'spec', 'spec');
  const status = reader.object(value, 'status', 'status');
  const podCIDRs = reader.cidrs(spec, 'podCIDRs', 'spec.podCIDRs');
  const podCIDR = reader.text(spec, 'podCIDR', 'spec.podCIDR') ?? '';
  return {
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
