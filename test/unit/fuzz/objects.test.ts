// API objects with odd values in any place: what is left out is reported under its object's name, good objects
// beside it come out as if it were not there, and nothing but rules' own letters reaches a rule.
import { isIP } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diff } from '../../../src/backends/iptables/diff.ts';
import { prepareScript } from '../../../src/backends/iptables/ipsets.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import type { Features } from '../../../src/backends/iptables/state.ts';
import { conflictText } from '../../../src/graph/claims.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import type { NodeContext } from '../../../src/graph/node-context.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import type { RuleGraph } from '../../../src/graph/rule-graph.ts';
import { readApiObject } from '../../../src/informer/api-resource.ts';
import type { Kind, KubeObject } from '../../../src/informer/kind.ts';
import { objectKey } from '../../../src/informer/kind.ts';
import type { Family } from '../../../src/ip/address.ts';
import { parseCidr } from '../../../src/ip/cidr.ts';
import { endpointSliceKind } from '../../../src/services/endpoint-slice-kind.ts';
import { nodeAddresses } from '../../../src/services/node-addresses.ts';
import { anyNodeKind } from '../../../src/services/node-kind.ts';
import { ServiceCatalog } from '../../../src/services/service-catalog.ts';
import { serviceCidrKind } from '../../../src/services/service-cidr-kind.ts';
import { serviceKind } from '../../../src/services/service-kind.ts';
import { parseTables } from '../../../src/walk/parse.ts';
import { address, cidr, nodeContext } from '../../support/service-ports.ts';
import { recordingLog } from '../informer/widgets.ts';
import { bounded, fuzzTimeoutMs } from './bounds.ts';
import { oddValues, pathsOf, withValue } from './odd-values.ts';
import type { Path } from './odd-values.ts';

/** `bad` objects are spoilt, `good` ones stand beside them. All fields that are read have a value. */
const service = (name: string, last: number): unknown => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    namespace: 'ns1',
    name,
    uid: `uid-${name}`,
    resourceVersion: '7',
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { app: name },
  },
  spec: {
    type: 'LoadBalancer',
    clusterIP: `10.96.0.${last}`,
    clusterIPs: [`10.96.0.${last}`, `fd96::${last}`],
    ipFamilies: ['IPv4', 'IPv6'],
    ports: [
      { name: 'http', protocol: 'TCP', port: 80, nodePort: 30_000 + last },
      { name: 'dns', protocol: 'UDP', port: 53, nodePort: 31_000 + last },
    ],
    externalIPs: [`203.0.113.${last}`],
    loadBalancerSourceRanges: ['198.51.100.0/24', '2001:db8::/64'],
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 32_000 + last,
  },
  status: { loadBalancer: { ingress: [{ ip: `192.0.2.${last}`, ipMode: 'VIP' }] } },
});

const slice = (name: string, family: Family, last: number): unknown => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    namespace: 'ns1',
    name: `${name}-${family}`,
    uid: `uid-${name}-${family}`,
    labels: { 'kubernetes.io/service-name': name },
    annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': '2026-01-01T00:00:00Z' },
  },
  addressType: family === 'ipv4' ? 'IPv4' : 'IPv6',
  ports: [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
  ],
  endpoints: [1, 2].map((pod) => ({
    addresses: [family === 'ipv4' ? `10.244.${last}.${pod}` : `fd00:244:${last}::${pod}`],
    nodeName: pod === 1 ? 'node-1' : 'node-2',
    conditions: { ready: true, serving: true, terminating: false },
    hints: { forZones: [{ name: 'a' }], forNodes: [{ name: 'node-1' }] },
  })),
});

const node = (name: string): unknown => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, uid: `uid-${name}`, labels: { 'topology.kubernetes.io/zone': 'a' } },
  spec: {
    podCIDR: '10.244.1.0/24',
    podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'],
    taints: [{ key: 't' }],
  },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.0.2' }] },
});

const serviceCidr = (name: string): unknown => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name, uid: `uid-${name}` },
  spec: { cidrs: ['10.96.0.0/12', 'fd96::/64'] },
});

interface World {
  readonly graphs: ReadonlyMap<Family, RuleGraph>;
  /** Everything that was said of objects. */
  readonly said: readonly string[];
}

const contexts: Readonly<Record<Family, NodeContext>> = {
  ipv4: nodeContext(),
  ipv6: nodeContext({
    family: 'ipv6',
    podDetector: { kind: 'cidr', cidr: cidr('fd00:244:1::/64') },
    nodeAddress: address('fd00:168::2'),
    localAddresses: ['::1', 'fd00:168::2'].map(address),
    serviceCidrs: [cidr('fd96::/64')],
  }),
};

/** The objects of a world, all the way from their JSON to the rule graphs. */
function worldOf(services: readonly unknown[], slices: readonly unknown[]): World {
  const { lines, log } = recordingLog();
  const read = <T extends KubeObject>(raws: readonly unknown[], kind: Kind<T>): readonly T[] =>
    raws.flatMap((raw) => readApiObject(raw, kind, log).object ?? []);
  const said: string[] = [];
  const graphs = new Map<Family, RuleGraph>();
  const readServices = read(services, serviceKind);
  const readSlices = read(slices, endpointSliceKind);
  for (const family of ['ipv4', 'ipv6'] as const) {
    const catalog = new ServiceCatalog({ family, nodeName: 'node-1', zone: 'a' });
    for (const each of readServices) catalog.setService(each);
    for (const each of readSlices) catalog.setSlice(each);
    const { servicePorts, problems } = catalog.take();
    said.push(...problems.map(({ object, reason }) => `${object}: ${reason}`));
    const graph = compileAll(servicePorts, contexts[family]);
    said.push(...graph.conflicts.map(conflictText));
    graphs.set(family, graph);
  }
  return { graphs, said: [...lines, ...said] };
}

const goodServices = [service('good', 9), service('fine', 8)];
const goodSlices = (['ipv4', 'ipv6'] as const).flatMap((family) => [
  slice('good', family, 9),
  slice('fine', family, 8),
]);
const goodTargets = [
  ['10.96.0.9', 80, 'TCP'],
  ['10.96.0.8', 53, 'UDP'],
  ['203.0.113.9', 80, 'TCP'],
  ['192.0.2.8', 80, 'TCP'],
  ['192.168.0.2', 30_009, 'TCP'],
  ['fd96::9', 80, 'TCP'],
  ['fd96::8', 53, 'UDP'],
  ['fd00:168::2', 31_008, 'UDP'],
] as const;

/** What everybody gets from the good Services. */
function goodAnswers({ graphs }: World): readonly string[] {
  return goodTargets.flatMap(([to, port, protocol]) => {
    const family = to.includes(':') ? 'ipv6' : 'ipv4';
    const graph = graphs.get(family);
    const sources =
      family === 'ipv4'
        ? ['10.244.1.7', '198.51.100.3', '8.8.8.8']
        : ['fd00:244:1::7', '2001:db8::3'];
    return sources.map((from) => {
      const ends = { source: address(from), destination: address(to), port, protocol };
      const outcomes =
        graph === undefined ? [] : interpret(graph, packetFrom(contexts[family], ends));
      return `${from} ${to} ${port}: ${JSON.stringify(outcomes, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`;
    });
  });
}

const alone = goodAnswers(worldOf(goodServices, goodSlices));

const features: fc.Arbitrary<Features> = fc.record({
  hairpin: fc.constantFrom('bpf', 'ipset', 'rules'),
  affinity: fc.constantFrom('ipset', 'recent'),
  randomFully: fc.boolean(),
  comments: fc.constantFrom('all', 'auto', 'none'),
});

/** Comments and bytecode are the only quoted texts, and no other letter is in a batch. */
const batchLine =
  /^(?:#.*|\*[a-z]+|COMMIT|:[A-Z0-9-]+ (?:-|ACCEPT) \[0:0\]|-[AIX] (?:[A-Za-z0-9 _.:/,!+=[\]-]|"[A-Za-z0-9 _.:/,;>()'[\]-]*")+)$/;
const setLine = /^(?:create|add|del|swap|destroy) (?:-exist )?[A-Za-z0-9 _.:/,-]+$/;

function checkRules({ graphs }: World, chosen: Features): void {
  for (const graph of graphs.values()) {
    const options = { masqueradeMark: 0x4000, localhostNodePorts: true, conntrackBeLiberal: false };
    const state = lowerAll(graph, { ...options, features: chosen });
    const batch = diff(undefined, state, 'generation one 1', undefined);
    for (const text of [renderRestore(state), batch.restore]) {
      const odd = text.split('\n').find((line) => line !== '' && !batchLine.test(line));
      expect(odd ?? '').toBe('');
      expect(() => parseTables(text)).not.toThrow();
    }
    const sets = prepareScript(batch.sets, []);
    expect(sets.split('\n').find((line) => line !== '' && !setLine.test(line))).toBeUndefined();
  }
}

const badObjects = [service('bad', 7), slice('bad', 'ipv4', 7), slice('bad', 'ipv6', 7)] as const;
const places: readonly (readonly [number, Path])[] = badObjects.flatMap((tree, at) =>
  pathsOf(tree).map((path) => [at, path] as const),
);
const traps: readonly (readonly [number, Path])[] = [
  '__proto__',
  'constructor',
  'toString',
].flatMap(
  (key) =>
    [
      [0, ['spec', key]],
      [0, ['metadata', 'labels', key]],
      [1, ['endpoints', 0, 'conditions', key]],
    ] as const,
);
const spoilings = fc.array(fc.tuple(fc.constantFrom(...places, ...traps), oddValues), {
  minLength: 1,
  maxLength: 5,
});

function spoil(
  spoils: readonly (readonly [readonly [number, Path], unknown])[],
): readonly unknown[] {
  const trees: unknown[] = [...badObjects];
  for (const [[at, path], value] of spoils) trees[at] = withValue(trees[at], path, value);
  return trees;
}

describe('objects with odd values', () => {
  it(
    'never touch what others serve, and never more than their own letters reach the rules',
    () => {
      fc.assert(
        fc.property(spoilings, features, fc.boolean(), (spoils, chosen, first) => {
          const [badService, ...badSlices] = spoil(spoils);
          const world = first
            ? worldOf([badService, ...goodServices], [...badSlices, ...goodSlices])
            : worldOf([...goodServices, badService], [...goodSlices, ...badSlices]);
          expect(goodAnswers(world)).toEqual(alone);
          checkRules(world, chosen);
          expect(Object.keys(Object.prototype)).toEqual([]);
          expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
        }),
        bounded(150),
      );
    },
    fuzzTimeoutMs,
  );

  it(
    'are no objects at all, or lists of nothing, without harm',
    () => {
      fc.assert(
        fc.property(fc.array(oddValues, { maxLength: 4 }), (values) => {
          const world = worldOf([...values, ...goodServices], [...values, ...goodSlices]);
          expect(goodAnswers(world)).toEqual(alone);
        }),
        bounded(150),
      );
    },
    fuzzTimeoutMs,
  );
});

/** A field, and whether a value is one that nobody could use there. */
interface Field {
  readonly tree: unknown;
  readonly kind: Kind<KubeObject>;
  readonly path: Path;
  readonly isUnusable: (value: unknown) => boolean;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isNoText = (value: unknown): boolean => !isText(value);
const isNoObject = (value: unknown): boolean =>
  typeof value !== 'object' || value === null || Array.isArray(value);
const isNoList = (value: unknown): boolean => !Array.isArray(value);
const isNoFlag = (value: unknown): boolean => typeof value !== 'boolean';
const isNoInt =
  (min: number, max: number) =>
  (value: unknown): boolean =>
    !(Number.isInteger(value) && (value as number) >= min && (value as number) <= max);
const isNoneOf =
  (...words: readonly string[]) =>
  (value: unknown): boolean =>
    !isText(value) || !words.includes(value);
/** Blanks count as nothing, leading zeros are allowed. */
const isNoAddress = (value: unknown): boolean => {
  if (!isText(value)) return true;
  const plain = value.trim().replaceAll(/\b0+(?=\d)/g, '');
  return plain !== '' && (isIP(plain) === 0 || plain.includes('%'));
};
const isNoCidr = (value: unknown): boolean => {
  if (!isText(value)) return true;
  const [base = '', length = '', ...rest] = value.trim().split('/');
  if (value.trim() === '') return false;
  const bits = base.includes(':') ? 128 : 32;
  return (
    rest.length > 0 ||
    isNoAddress(base) ||
    base === '' ||
    !/^\d+$/.test(length) ||
    Number(length) > bits
  );
};
const isNoLabel = (value: unknown): boolean =>
  !isText(value) || (value !== '' && !/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(value));

function fieldsOf(
  tree: unknown,
  kind: Kind<KubeObject>,
  list: readonly (readonly [Path, (value: unknown) => boolean])[],
): readonly Field[] {
  return list.map(([path, isUnusable]) => ({ tree, kind, path, isUnusable }));
}

const port = isNoInt(1, 65_535);
const fields: readonly Field[] = [
  ...fieldsOf(service('bad', 7), serviceKind, [
    [['spec'], isNoObject],
    [['spec', 'type'], isNoneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName')],
    [['spec', 'clusterIP'], isNoText],
    [['spec', 'clusterIPs'], isNoList],
    [['spec', 'clusterIPs', 0], isNoText],
    [['spec', 'ipFamilies'], isNoList],
    [['spec', 'ipFamilies', 1], isNoneOf('IPv4', 'IPv6')],
    [['spec', 'ports'], isNoList],
    [['spec', 'ports', 0], isNoObject],
    [['spec', 'ports', 0, 'name'], isNoLabel],
    [['spec', 'ports', 0, 'protocol'], isNoneOf('TCP', 'UDP', 'SCTP')],
    [['spec', 'ports', 0, 'port'], port],
    [['spec', 'ports', 0, 'nodePort'], isNoInt(0, 65_535)],
    [['spec', 'externalIPs'], isNoList],
    [['spec', 'externalIPs', 0], isNoAddress],
    [['spec', 'loadBalancerSourceRanges'], isNoList],
    [['spec', 'loadBalancerSourceRanges', 0], isNoCidr],
    [['spec', 'sessionAffinity'], isNoneOf('None', 'ClientIP')],
    [['spec', 'sessionAffinityConfig'], isNoObject],
    [['spec', 'sessionAffinityConfig', 'clientIP'], isNoObject],
    [['spec', 'sessionAffinityConfig', 'clientIP', 'timeoutSeconds'], isNoInt(1, 86_400)],
    [['spec', 'internalTrafficPolicy'], isNoneOf('Cluster', 'Local')],
    [['spec', 'externalTrafficPolicy'], isNoneOf('Cluster', 'Local')],
    [['spec', 'healthCheckNodePort'], isNoInt(0, 65_535)],
    [['status'], isNoObject],
    [['status', 'loadBalancer'], isNoObject],
    [['status', 'loadBalancer', 'ingress'], isNoList],
    [['status', 'loadBalancer', 'ingress', 0], isNoObject],
    [['status', 'loadBalancer', 'ingress', 0, 'ip'], isNoAddress],
    [['status', 'loadBalancer', 'ingress', 0, 'ipMode'], isNoneOf('VIP', 'Proxy')],
  ]),
  ...fieldsOf(slice('bad', 'ipv4', 7), endpointSliceKind, [
    [['metadata', 'labels'], isNoObject],
    [['metadata', 'labels', 'kubernetes.io/service-name'], isNoText],
    [['addressType'], isNoneOf('IPv4', 'IPv6', 'FQDN')],
    [['ports'], isNoList],
    [['ports', 0], isNoObject],
    [['ports', 0, 'name'], isNoLabel],
    [['ports', 0, 'protocol'], isNoneOf('TCP', 'UDP', 'SCTP')],
    [['ports', 0, 'port'], port],
    [['endpoints'], isNoList],
    [['endpoints', 0], isNoObject],
    [['endpoints', 0, 'addresses'], isNoList],
    [['endpoints', 0, 'addresses', 0], isNoAddress],
    [['endpoints', 0, 'nodeName'], isNoText],
    [['endpoints', 0, 'conditions'], isNoObject],
    [['endpoints', 0, 'conditions', 'ready'], isNoFlag],
    [['endpoints', 0, 'conditions', 'serving'], isNoFlag],
    [['endpoints', 0, 'conditions', 'terminating'], isNoFlag],
    [['endpoints', 0, 'hints', 'forZones'], isNoList],
    [['endpoints', 0, 'hints', 'forZones', 0], isNoObject],
    [['endpoints', 0, 'hints', 'forNodes', 0, 'name'], isNoText],
  ]),
  ...fieldsOf(node('bad'), anyNodeKind, [
    [['spec'], isNoObject],
    [['spec', 'podCIDRs'], isNoList],
    [['spec', 'podCIDRs', 0], isNoCidr],
    [['status', 'addresses'], isNoList],
    [['status', 'addresses', 0], isNoObject],
    [['status', 'addresses', 0, 'address'], isNoAddress],
    [['metadata', 'labels', 'topology.kubernetes.io/zone'], isNoText],
  ]),
  ...fieldsOf(serviceCidr('bad'), serviceCidrKind, [
    [['spec'], isNoObject],
    [['spec', 'cidrs'], isNoList],
    [['spec', 'cidrs', 0], isNoCidr],
  ]),
];

/** What a log says of one object that stands alone. */
function saidOf({ tree, kind }: Pick<Field, 'tree' | 'kind'>): readonly string[] {
  const { lines, log } = recordingLog();
  const { object } = readApiObject(tree, kind, log);
  if (object === undefined) return lines;
  if (kind.kind === 'Service') return worldOf([tree], []).said;
  if (kind.kind === 'EndpointSlice') return worldOf([service('bad', 7)], [tree]).said;
  return lines;
}

describe('a field that cannot be used', () => {
  it.each(fields.map((field) => [`${field.kind.kind} ${field.path.join('.')}`, field] as const))(
    '%s is said to be so, with the name of its object',
    (_name, { tree, kind, path, isUnusable }) => {
      expect(saidOf({ tree, kind })).toEqual([]);
      const unusable = oddValues.filter(
        (value) => value !== null && value !== '' && isUnusable(withValue(undefined, [], value)),
      );
      fc.assert(
        fc.property(unusable, (value) => {
          const spoilt = withValue(tree, path, value);
          if (kind.selects?.(spoilt) === false) return;
          const said = saidOf({ tree: spoilt, kind }).join('\n');
          expect(said).toMatch(/\bbad\b/);
          // The field itself, or the list whose item it is a part of.
          const names = path.filter(isText).slice(-3);
          expect(names.some((name) => said.includes(name))).toBe(true);
        }),
        bounded(8),
      );
    },
    fuzzTimeoutMs,
  );

  it('does not make the node or the prefixes of services another', () => {
    const { log } = recordingLog();
    const read = readApiObject(node('bad'), anyNodeKind, log).object;
    expect(read && nodeAddresses(read)).toEqual(['192.168.0.2']);
    const prefixes = readApiObject(serviceCidr('bad'), serviceCidrKind, log).object?.cidrs;
    expect(prefixes?.map(parseCidr)).toEqual(['10.96.0.0/12', 'fd96::/64']);
  });
});

describe('thousands of endpoints', () => {
  it('come out all, the bad ones among them by name', () => {
    const many = Array.from({ length: 3000 }, (_, at) => ({
      addresses: [
        at % 500 === 499 ? `10.244.300.${at}` : `10.244.${Math.floor(at / 250)}.${at % 250}`,
      ],
    }));
    const big = withValue(slice('good', 'ipv4', 9), ['endpoints'], many);
    const { graphs, said } = worldOf([service('good', 9)], [big]);
    const pools = [...(graphs.get('ipv4')?.pools.values() ?? [])];
    expect(Math.max(...pools.map(({ endpoints }) => endpoints.length))).toBe(2994);
    expect(said.filter((line) => line.includes('EndpointSlice ns1/good-ipv4'))).toHaveLength(6);
    checkRules({ graphs, said }, defaultFeatures);
    expect(objectKey({ namespace: 'ns1', name: 'good' })).toBe('ns1/good');
  });
});
