import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Lowering, lowerAll } from '../../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../../src/backends/iptables/state.ts';
import type {
  ChainName,
  Features,
  IptablesState,
  LoweringOptions,
  TableName,
} from '../../../../src/backends/iptables/state.ts';
import { compileAll, GraphCompiler } from '../../../../src/graph/compile.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import type {
  ServiceName,
  ServicePort,
  ServicePortKey,
  ServicePortName,
} from '../../../../src/services/service-port.ts';
import {
  address,
  byKey,
  cidr,
  endpoint,
  nodeContext,
  servicePort,
} from '../../../support/service-ports.ts';

const settings: LoweringOptions = {
  features: defaultFeatures,
  masqueradeMark: 0x4000,
  localhostNodePorts: true,
  conntrackBeLiberal: false,
};

interface Given {
  readonly node?: Partial<NodeContext>;
  readonly features?: Partial<Features>;
  readonly options?: Partial<LoweringOptions>;
}

function lowered(ports: readonly ServicePort[], given: Given = {}): IptablesState {
  const features = { ...defaultFeatures, ...given.features };
  const graph = compileAll(byKey(ports), nodeContext(given.node));
  return lowerAll(graph, { ...settings, ...given.options, features });
}

function rules(state: IptablesState, table: TableName, chain: string): readonly string[] {
  const found = state.tables[table].get(chain as ChainName);
  return found?.rules.map(({ args }) => args) ?? [];
}

const endpoints = (count: number, local = false) =>
  Array.from({ length: count }, (_, i) => endpoint(`10.244.2.${i + 1}:8080`, { local }));

const chainOf = (state: IptablesState, prefix: string) =>
  [...state.tables.nat.keys()].find((name) => name.startsWith(prefix)) ?? '';

const names = (state: IptablesState) =>
  new Set([...state.tables.nat.keys()].map((name) => name.slice(-16)));

const fleet = (count: number) =>
  Array.from({ length: count }, (_, i) =>
    servicePort({
      service: `default/s-${i}` as ServiceName,
      clusterIP: `10.96.1.${i}`,
      endpoints: Array.from({ length: 10 }, (_unused, e) => endpoint(`10.244.${i}.${e}:80`)),
    }),
  );

const clear = '-d 10.96.0.0/12 -j MARK --set-xmark 0x0/0x4000';
const hoisted = '! -s 10.244.1.0/24 -d 10.96.0.0/12 -j MARK --set-xmark 0x4000/0x4000';
const tail =
  '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS';
const hash = 'LOLE4ISW44XBNF3G';

describe('a cluster IP', () => {
  test('with three endpoints is three DNAT rules in the dispatch tree', () => {
    const match =
      '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80';
    expect(
      rules(lowered([servicePort({ endpoints: endpoints(3) })]), 'nat', 'KUBE-SERVICES'),
    ).toEqual([
      hoisted,
      `${match} -m statistic --mode random --probability 0.3333333333 -j DNAT --to-destination 10.244.2.1:8080`,
      `${match} -m statistic --mode random --probability 0.5000000000 -j DNAT --to-destination 10.244.2.2:8080`,
      `${match} -j DNAT --to-destination 10.244.2.3:8080`,
      clear,
      tail,
    ]);
  });

  test('outside every ServiceCIDR has a mark rule of its own', () => {
    const state = lowered([servicePort({ endpoints: endpoints(1) })], {
      node: { serviceCidrs: [] },
    });
    const match =
      '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80';
    expect(rules(state, 'nat', 'KUBE-SERVICES')).toEqual([
      `! -s 10.244.1.0/24 ${match} -j MARK --set-xmark 0x4000/0x4000`,
      `${match} -j DNAT --to-destination 10.244.2.1:8080`,
      tail,
    ]);
  });

  test.each([
    [{ kind: 'interface', name: 'cbr0' }, '-d 10.96.0.0/12 ! -i cbr0 -j'],
    [{ kind: 'interfacePrefix', prefix: 'veth' }, '-d 10.96.0.0/12 ! -i veth+ -j'],
  ] as const)('is marked for all but what comes by %o', (podDetector, start) => {
    expect(rules(lowered([], { node: { podDetector } }), 'nat', 'KUBE-SERVICES')[0]).toContain(
      start,
    );
  });

  test('without a detector is not marked at all', () => {
    const state = lowered([], { node: { podDetector: { kind: 'none' } } });
    expect(rules(state, 'nat', 'KUBE-SERVICES')).toEqual([tail]);
  });

  test('without endpoints is rejected in filter, after translated packets have left', () => {
    const state = lowered([servicePort()]);
    expect(rules(state, 'nat', 'KUBE-SERVICES')).toEqual([hoisted, clear, tail]);
    expect(rules(state, 'filter', 'KUBE-SERVICES')).toEqual([
      '-m conntrack --ctstate DNAT -j RETURN',
      '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web has no endpoints" -m tcp --dport 80 -j REJECT --reject-with tcp-reset',
    ]);
  });

  test.each([
    [40, '-j DNAT'],
    [80, '-g KUBE-SEP-'],
  ])('with %i endpoints leads to a chain of %s', (count, target) => {
    const state = lowered([servicePort({ endpoints: endpoints(count) })]);
    const jump = rules(state, 'nat', 'KUBE-SERVICES').find((rule) => rule.includes('cluster IP'));
    const chain = jump?.split(' ').at(-1) ?? '';
    expect(chain).toMatch(/^KUBE-SVC-/);
    const choices = rules(state, 'nat', chain);
    expect(choices.filter((rule) => rule.includes(target))).toHaveLength(choices.length);
  });
});

describe('affinity', () => {
  const port = servicePort({ endpoints: endpoints(1), affinitySeconds: 10800 });
  test('by xt_recent asks the list of the endpoint, then notes the client in it', () => {
    const state = lowered([port]);
    const [pool, ep] = [chainOf(state, 'KUBE-SVC-'), chainOf(state, 'KUBE-SEP-')];
    expect(rules(state, 'nat', pool)).toEqual([
      `-m comment --comment "default/web -> 10.244.2.1:8080" -m recent --rcheck --seconds 10800 --reap --name ${ep} -j ${ep}`,
      `-m comment --comment "default/web -> 10.244.2.1:8080" -j ${ep}`,
    ]);
    expect(rules(state, 'nat', ep)).toEqual([
      `-p tcp -m comment --comment "default/web" -m recent --set --name ${ep} -j DNAT --to-destination 10.244.2.1:8080`,
    ]);
    expect(state.sets.size).toBe(0);
  });

  test('by ipset has a set an endpoint, filled by the kernel', () => {
    const state = lowered([port], { features: { affinity: 'ipset', comments: 'none' } });
    const [set] = [...state.sets.values()];
    const [pool, ep] = [chainOf(state, 'KUBE-SVC-'), chainOf(state, 'KUBE-SEP-')];
    expect(set?.create).toBe('hash:ip family inet hashsize 64 maxelem 262144 timeout 10800');
    expect(set?.members).toBeUndefined();
    expect(rules(state, 'nat', pool)).toEqual([
      `-m set --match-set ${set?.name} src -j ${ep}`,
      `-j ${ep}`,
    ]);
    expect(rules(state, 'nat', ep)).toEqual([
      `-j SET --add-set ${set?.name} src --exist --timeout 10800`,
      '-p tcp -j DNAT --to-destination 10.244.2.1:8080',
    ]);
  });
});

describe('traffic from outside', () => {
  const base = { nodePort: 30080, loadBalancerIPs: ['192.0.2.1'], endpoints: endpoints(2) };
  test('with external policy Cluster is marked and shares the chain of the pool', () => {
    const state = lowered([servicePort(base)]);
    expect(rules(state, 'nat', 'KUBE-NODEPORTS')).toEqual([
      '-p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j MARK --set-xmark 0x4000/0x4000',
      `-p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j KUBE-SVC-${hash}`,
    ]);
    expect(names(state)).toContain(hash);
  });

  test('with external policy Local goes by source: pods, the node, the others', () => {
    const [remote, here] = [
      endpoint('10.244.2.1:8080'),
      endpoint('10.244.1.7:8080', { local: true }),
    ];
    const state = lowered([
      servicePort({ ...base, externalPolicy: 'Local', endpoints: [remote, here] }),
    ]);
    expect(rules(state, 'nat', `KUBE-EXT-${hash}`)).toEqual([
      `-s 10.244.1.0/24 -m comment --comment "pod traffic for default/web external destinations" -j KUBE-SVC-${hash}`,
      '-m comment --comment "masquerade LOCAL traffic for default/web external destinations" -m addrtype --src-type LOCAL -j MARK --set-xmark 0x4000/0x4000',
      `-m comment --comment "route LOCAL traffic for default/web external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-${hash}`,
      '-p tcp -j DNAT --to-destination 10.244.1.7:8080',
    ]);
  });

  test('marks the node alone where pods and others keep their address on the same pool', () => {
    const port = {
      endpoints: endpoints(1, true),
      nodePort: 30080,
      externalPolicy: 'Local',
    } as const;
    expect(rules(lowered([servicePort(port)]), 'nat', 'KUBE-NODEPORTS')).toEqual([
      '-p tcp -m comment --comment "default/web" -m addrtype --src-type LOCAL -m tcp --dport 30080 -j MARK --set-xmark 0x4000/0x4000',
      '-s 10.244.1.0/24 -p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j MARK --set-xmark 0x0/0x4000',
      '-p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j DNAT --to-destination 10.244.2.1:8080',
    ]);
  });

  test('with external policy Local and no local endpoint is dropped in filter', () => {
    const state = lowered([servicePort({ ...base, externalPolicy: 'Local' })]);
    const drops = rules(state, 'filter', 'KUBE-EXTERNAL-SERVICES');
    expect(drops[1]).toBe(
      '-d 192.0.2.1/32 -p tcp -m comment --comment "default/web has no local endpoints" -m tcp --dport 80 -j DROP',
    );
    const chain = drops[2]?.split(' ').at(-1) ?? '';
    expect(drops[2]).toBe(`-m addrtype --dst-type LOCAL -j ${chain}`);
    expect(rules(state, 'filter', chain)).toEqual([
      '-p tcp -m comment --comment "default/web has no local endpoints" -m tcp --dport 30080 -j DROP',
    ]);
  });

  test('with source ranges passes a guard, and is dropped in filter where it does not', () => {
    const state = lowered([
      servicePort({ ...base, sourceRanges: ['203.0.113.0/24', '192.168.0.0/24'] }),
    ]);
    const why = '-m comment --comment "default/web loadbalancer IP"';
    expect(rules(state, 'nat', `KUBE-FW-${hash}`)).toEqual([
      `-s 203.0.113.0/24 ${why} -g KUBE-EXT-${hash}`,
      `-s 192.168.0.0/24 ${why} -g KUBE-EXT-${hash}`,
      `-s 192.0.2.1/32 ${why} -g KUBE-EXT-${hash}`,
      '-m comment --comment "other traffic to default/web will be dropped by KUBE-PROXY-FIREWALL"',
    ]);
    expect(rules(state, 'filter', 'KUBE-PROXY-FIREWALL')).toEqual([
      '-m conntrack --ctstate DNAT -j RETURN',
      `-d 192.0.2.1/32 -p tcp -m comment --comment "default/web traffic not accepted by KUBE-FW-${hash}" -m tcp --dport 80 -j DROP`,
    ]);
  });

  test('to an external address inside a ServiceCIDR gets the mark its branches ask for', () => {
    const state = lowered([
      servicePort({
        endpoints: endpoints(1),
        externalIPs: ['10.96.9.9'],
        externalPolicy: 'Cluster',
      }),
    ]);
    const at = rules(state, 'nat', 'KUBE-SERVICES').find((rule) => rule.includes('external IP'));
    expect(at).toMatch(/^-d 10.96.9.9\/32 .* -j MARK --set-xmark 0x4000\/0x4000$/);
  });

  test('to a chain of branches inside a ServiceCIDR has the hoisted mark cleared first', () => {
    const port = {
      endpoints: endpoints(2),
      externalIPs: ['10.96.9.9'],
      externalPolicy: 'Local',
    } as const;
    const at = rules(lowered([servicePort(port)]), 'nat', 'KUBE-SERVICES').filter((rule) =>
      rule.includes('external IP'),
    );
    expect(at[0]).toMatch(/ -j MARK --set-xmark 0x0\/0x4000$/);
    expect(at[1]).toMatch(/ -j KUBE-EXT-/);
  });
});

describe('static rules', () => {
  test('accept health check node ports', () => {
    const port = servicePort({
      nodePort: 30080,
      healthCheckNodePort: 32000,
      externalPolicy: 'Local',
    });
    expect(rules(lowered([port]), 'filter', 'KUBE-NODEPORTS')).toEqual([
      '-p tcp -m comment --comment "default/web health check node port" -m tcp --dport 32000 -j ACCEPT',
    ]);
  });

  test.each([
    [{ kind: 'all', loopback: false }, [`! -d 127.0.0.0/8 ${tail}`]],
    [
      { kind: 'list', addresses: [address('192.168.0.2')] },
      [
        tail
          .replace('-m comment', '-d 192.168.0.2/32 -m comment')
          .replace(' -m addrtype --dst-type LOCAL', ''),
      ],
    ],
    [{ kind: 'list', addresses: [] }, []],
  ] as const)('bring node ports on %o to KUBE-NODEPORTS', (nodePortAddresses, expected) => {
    const all = rules(lowered([], { node: { nodePortAddresses } }), 'nat', 'KUBE-SERVICES');
    expect(all.filter((rule) => rule.includes('NODEPORTS'))).toEqual(expected);
  });

  test('write KUBE-FIREWALL only where localhost node ports are on', () => {
    const without = lowered([], { options: { localhostNodePorts: false } });
    expect(lowered([]).tables.filter.has('KUBE-FIREWALL' as ChainName)).toBe(true);
    expect(without.tables.filter.has('KUBE-FIREWALL' as ChainName)).toBe(false);
    expect(without.jumps.some(({ to }) => to === ('KUBE-FIREWALL' as ChainName))).toBe(false);
  });

  test('follow masqueradeBit, --random-fully and the liberal conntrack setting', () => {
    const state = lowered([], {
      options: { masqueradeMark: 0x20, conntrackBeLiberal: true },
      features: { randomFully: false },
    });
    expect(rules(state, 'nat', 'KUBE-POSTROUTING').slice(1)).toEqual([
      '-m mark ! --mark 0x20/0x20 -j RETURN',
      '-j MARK --set-xmark 0x20/0x0',
      '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE',
    ]);
    expect(rules(state, 'filter', 'KUBE-FORWARD').some((rule) => rule.includes('INVALID'))).toBe(
      false,
    );
  });

  test('recognise hairpins by an ipset or by a rule an endpoint where there is no bpf', () => {
    const port = servicePort({ endpoints: endpoints(1) });
    const bySet = lowered([port], { features: { hairpin: 'ipset' } });
    expect([...bySet.sets.values()][0]?.members).toEqual(['10.244.2.1,tcp:8080,10.244.2.1']);
    expect(rules(bySet, 'nat', 'KUBE-POSTROUTING')[0]).toContain(
      '--match-set KUBE-HAIRPIN dst,dst,src',
    );
    const byRule = lowered([port], { features: { hairpin: 'rules' } });
    const match = '-s 10.244.2.1/32 -d 10.244.2.1/32 -m conntrack --ctstate DNAT';
    expect(rules(byRule, 'nat', 'KUBE-POSTROUTING')[0]).toBe(
      `${match} -j MARK --set-xmark 0x4000/0x4000`,
    );
    expect(rules(byRule, 'filter', 'KUBE-FORWARD')).toContain(`${match} -j ACCEPT`);
  });
});

describe('comments', () => {
  test.each([
    [100, true],
    [101, false],
  ])('of endpoints of %i services x 10 are written: %s', (count, written) => {
    const text = renderRestore(lowered(fleet(count)));
    expect(text.includes('default/s-1 -> 10.244.1.1:80')).toBe(written);
    expect(text).toContain('"default/s-1 cluster IP"');
  });
});

const portOf = fc.record({
  n: fc.integer({ min: 0, max: 40 }),
  portName: fc.constantFrom('', 'http'),
  eps: fc.integer({ min: 0, max: 12 }),
  localEps: fc.integer({ min: 0, max: 2 }),
  nodePort: fc.option(fc.integer({ min: 30000, max: 30100 }), { nil: 0 }),
  external: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  balancer: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  guarded: fc.boolean(),
  affinitySeconds: fc.option(fc.constantFrom(60, 10800), { nil: undefined }),
  internalPolicy: fc.constantFrom('Cluster', 'Local'),
  externalPolicy: fc.constantFrom('Cluster', 'Local'),
  healthCheckNodePort: fc.constantFrom(0, 0, 32001, 32002),
});

type Drawn = typeof portOf extends fc.Arbitrary<infer T> ? T : never;

function drawn(given: Drawn): ServicePort {
  const { n, eps, localEps, external, balancer, guarded, ...rest } = given;
  return servicePort({
    ...rest,
    service: `default/s-${n}` as ServiceName,
    clusterIP: `10.96.${n % 3}.${n}`,
    createdAtMs: n,
    externalIPs: external === undefined ? [] : [`198.51.100.${external}`],
    loadBalancerIPs: balancer === undefined ? [] : [`192.0.2.${balancer}`],
    sourceRanges: guarded ? ['203.0.113.0/24'] : [],
    endpoints: Array.from({ length: eps }, (_, i) =>
      endpoint(`10.244.${n}.${i + 1}:8080`, { local: i < localEps }),
    ),
  });
}

describe('lowering one graph after the other', () => {
  const featureSets: readonly Partial<Features>[] = [
    {},
    { hairpin: 'ipset', affinity: 'ipset' },
    { hairpin: 'rules', comments: 'none' },
  ];

  test('gives, to the byte, what lowering the last graph alone gives', () => {
    const steps = fc.array(fc.array(fc.tuple(portOf, fc.boolean()), { maxLength: 12 }), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(steps, fc.constantFrom(...featureSets), (all, features) => {
        const options = { ...settings, features: { ...defaultFeatures, ...features } };
        const [compiler, lowering] = [new GraphCompiler(), new Lowering(options)];
        const ports = new Map<ServicePortKey, ServicePort>();
        for (const step of all) {
          const changed = new Set<ServicePortKey>();
          for (const [given, keep] of step) {
            const port = drawn(given);
            changed.add(port.key);
            if (keep) ports.set(port.key, port);
            else ports.delete(port.key);
          }
          const { graph, delta } = compiler.compile(ports, changed, nodeContext());
          const state = lowering.lower(graph, delta);
          expect(renderRestore(state)).toBe(renderRestore(lowerAll(graph, options)));
          expect(state.sets).toEqual(lowerAll(graph, options).sets);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('keeps the identity of every chain that reads the same, also when everything is made anew', () => {
    const ports = new Map(
      byKey(
        Array.from({ length: 60 }, (_, i) =>
          servicePort({
            service: `default/s-${i}` as ServiceName,
            clusterIP: `10.96.${i}.1`,
            endpoints: endpoints(2),
          }),
        ),
      ),
    );
    const [compiler, lowering] = [new GraphCompiler(), new Lowering(settings)];
    const first = compiler.compile(ports, new Set(ports.keys()), nodeContext());
    const before = lowering.lower(first.graph, first.delta);
    const again = lowering.lower(first.graph, { ...first.delta, everything: true });
    for (const [name, chain] of before.tables.nat) expect(again.tables.nat.get(name)).toBe(chain);
    const changed = servicePort({
      service: 'default/s-7' as ServiceName,
      clusterIP: '10.96.7.1',
      endpoints: endpoints(1),
    });
    ports.set(changed.key, changed);
    const second = compiler.compile(ports, new Set([changed.key]), nodeContext());
    const after = lowering.lower(second.graph, second.delta);
    const differing = [...after.tables.nat].filter(
      ([name, chain]) => again.tables.nat.get(name) !== chain,
    );
    expect(differing).toHaveLength(1);
    expect(after.tables.filter).toBe(again.tables.filter);
    expect(again.tables.nat.size).toBe(before.tables.nat.size);
  });

  test('rewrites everything when the number of endpoints crosses the limit of comments', () => {
    const ports = new Map(byKey(fleet(100)));
    const [compiler, lowering] = [new GraphCompiler(), new Lowering(settings)];
    const first = compiler.compile(ports, new Set(ports.keys()), nodeContext());
    expect(renderRestore(lowering.lower(first.graph, first.delta))).toContain('10.244.1.1:80"');
    const more = servicePort({ clusterIP: '10.96.2.1', endpoints: endpoints(1) });
    ports.set(more.key, more);
    const second = compiler.compile(ports, new Set([more.key]), nodeContext());
    const text = renderRestore(lowering.lower(second.graph, second.delta));
    expect(text).toBe(renderRestore(lowerAll(second.graph, settings)));
    expect(text).not.toContain('10.244.1.1:80"');
  });

  test('leaves excluded service ports out as if they did not exist', () => {
    const [good, bad] = ['good', 'bad'].map((name, i) =>
      servicePort({
        service: `default/${name}` as ServiceName,
        clusterIP: `10.96.0.${i + 1}`,
        endpoints: endpoints(9),
        nodePort: 30000 + i,
      }),
    );
    if (!good || !bad) throw new TypeError('two services');
    const both = compileAll(byKey([good, bad]), nodeContext());
    const state = lowerAll(both, settings, new Set(['default/bad' as ServicePortName]));
    expect(renderRestore(state)).toBe(renderRestore(lowered([good])));
  });
});

describe('a rendered file', () => {
  const lines = renderRestore(lowered([]), {
    generation: 'generation a 1',
    features: defaultFeatures,
  }).split('\n');

  test('says who wrote it, for which family and with which features', () => {
    expect(lines.slice(0, 2)).toEqual([
      '# switchyard, mode iptables, ipv4: for a node without our rules; load with iptables-restore --noflush',
      '# features: hairpin=bpf affinity=recent randomFully=true comments=auto',
    ]);
  });

  test('puts the generation first into the nat and filter roots', () => {
    const roots = lines.filter((line) => line.startsWith('-A KUBE-SERVICES'));
    expect(roots.filter((line) => line.includes('switchyard generation a 1'))).toHaveLength(2);
    expect(roots[0]).toContain('switchyard generation a 1');
  });

  test('ends with the order of jumps that kube-proxy ends with', () => {
    const filter = lines.slice(lines.indexOf('*filter'), lines.indexOf('*nat'));
    const order = (chain: string) =>
      filter
        .filter((line) => line.startsWith(`-I ${chain} 1 `))
        .map((line) => line.split(' ').at(-1))
        .toReversed();
    expect(order('INPUT')).toEqual([
      'KUBE-FIREWALL',
      'KUBE-PROXY-FIREWALL',
      'KUBE-NODEPORTS',
      'KUBE-EXTERNAL-SERVICES',
    ]);
    expect(order('FORWARD')).toEqual([
      'KUBE-PROXY-FIREWALL',
      'KUBE-FORWARD',
      'KUBE-SERVICES',
      'KUBE-EXTERNAL-SERVICES',
    ]);
    expect(order('OUTPUT')).toEqual([
      'KUBE-FIREWALL',
      'KUBE-PROXY-FIREWALL',
      'KUBE-SERVICES',
      'KUBE-EXTERNAL-SERVICES',
    ]);
  });

  test('mentions only chains that it creates', () => {
    const text = renderRestore(
      lowered([servicePort({ endpoints: endpoints(40), nodePort: 30080, affinitySeconds: 60 })], {
        node: { podDetector: { kind: 'cidr', cidr: cidr('10.0.0.0/8') } },
      }),
    );
    const made = new Set([...text.matchAll(/^:(\S+)/gm)].map(([, name]) => name));
    const named = [...text.matchAll(/-[jg] (KUBE-\S+)/g)].map(([, name]) => name);
    expect(named.filter((name) => !made.has(name))).toEqual([]);
  });
});
