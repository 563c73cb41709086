import { describe, expect, it } from 'vitest';
import type { ComparedPart } from '../../../src/backends/compared.ts';
import { comparedRules } from '../../../src/backends/iptables/compared-rules.ts';
import { comparedSets } from '../../../src/backends/iptables/compared-sets.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { parseSave } from '../../../src/backends/iptables/read.ts';
import { renderTables } from '../../../src/backends/iptables/render.ts';
import type {
  Features,
  IpsetSpec,
  IptablesState,
  SetName,
} from '../../../src/backends/iptables/state.ts';
import { comparedBalancing } from '../../../src/backends/ipvs/compared-servers.ts';
import { parseServerList } from '../../../src/backends/ipvs/kernel-table.ts';
import { lowerIpvs } from '../../../src/backends/ipvs/lower.ts';
import { defaultIpvsFeatures } from '../../../src/backends/ipvs/options.ts';
import { assumedOf } from '../../../src/cli/diff/assumed.ts';
import { differencesOf, editedParts, rulesInFrontOf } from '../../../src/cli/diff/differences.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import {
  address,
  byKey,
  cidr,
  endpoint,
  nodeContext,
  servicePort,
} from '../../support/service-ports.ts';

const ports = byKey([
  servicePort({
    portName: 'http',
    endpoints: ['10.244.1.5:80', '10.244.2.5:80', '10.244.2.6:80'].map((each) => endpoint(each)),
  }),
]);
const graph = compileAll(ports, nodeContext());
const plainFeatures: Features = {
  hairpin: 'bpf',
  affinity: 'ipset',
  randomFully: true,
  comments: 'all',
};
const lowering = {
  features: { ...plainFeatures, nfacct: true } as const,
  masqueradeMark: 0x4000,
  localhostNodePorts: true,
  conntrackBeLiberal: false,
};
const state = lowerAll(graph, lowering);

/** What the kernel would print, with more of others. */
function observed(change: (text: string) => string = (text) => text, of = state) {
  // Chain by chain; what was inserted last comes first.
  const byChain = Object.values(Object.groupBy(of.jumps.toReversed(), ({ from }) => from));
  const inOrder = { ...of, jumps: byChain.flatMap((each = []) => each) };
  const text = change(
    renderTables(inOrder, 'generation abc 7')
      .join('\n')
      .replaceAll(/^-I (\S+) 1 /gm, '-A $1 ')
      .replaceAll('--nfacct-name ', '--nfacct-name  ')
      .replaceAll(/--probability (\S+)/g, (_, chance: string) => {
        const kept = Math.round(Number(chance) * 2 ** 31) / 2 ** 31;
        return `--probability ${kept.toFixed(11)}`;
      }),
  );
  const table = (name: string) =>
    parseSave(text.split('COMMIT').find((each) => each.includes(`*${name}`)) ?? '');
  return { nat: table('nat'), filter: table('filter'), mangle: table('mangle') };
}

function told(parts: readonly ComparedPart[]): readonly string[] {
  return differencesOf(editedParts(parts)).map(({ kind, part, where, object, wanted, found }) =>
    [kind, part, where, object, wanted, found].join(' | '),
  );
}

function spec(name: string, create: string, members: IpsetSpec['members']): [SetName, IpsetSpec] {
  return [name as SetName, { name: name as SetName, create, members }];
}

function serverList(...lines: readonly string[]) {
  const head = [
    'IP Virtual Server version 1.2.1 (size=4096)',
    'Prot LocalAddress:Port Scheduler Flags',
    '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn',
  ];
  return parseServerList([...head, ...lines, ''].join('\n'), 'ipv4');
}

function real(place: string, weight = 1): string {
  return `  -> ${place.padEnd(28)} Masq    ${weight}      0          0         `;
}

/** Job: what is not as wanted is found, and what is others' is none. */
describe('rules that are wanted beside those that are there', () => {
  it('are equal where the kernel prints what was written, whatever others have', () => {
    const withOthers = observed((text) =>
      text
        .replaceAll(
          '*nat\n',
          '*nat\n:DOCKER - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n-A DOCKER -j RETURN\n-A PREROUTING -j DOCKER\n',
        )
        .replace(/^(-A KUBE-FIREWALL .*)$/m, '$1\n-A KUBE-FIREWALL -m mark --mark 0x8000 -j DROP'),
    );
    expect(told(comparedRules(state, withOthers))).toEqual([]);
  });

  it.each<[string, (text: string) => string, RegExp]>([
    [
      'a rule that was deleted',
      (text) => text.replace(/^-A KUBE-SERVICES .*10\.96\.0\.10.*DNAT.*10\.244\.1\.5.*\n/m, ''),
      /^missing \| nat \| chain KUBE-SERVICES \| default\/web:http \| -A KUBE-SERVICES .*10\.244\.1\.5:80/,
    ],
    [
      'a rule that was changed',
      (text) => text.replace('--to-destination 10.244.2.6:80', '--to-destination 10.9.9.9:80'),
      /^different \| nat \| .*default\/web:http.*10\.244\.2\.6:80.*10\.9\.9\.9:80/,
    ],
    [
      'a rule that was put in',
      (text) => text.replace(/^(-A KUBE-POSTROUTING .*)$/m, '-A KUBE-POSTROUTING -j ACCEPT\n$1'),
      /^unexpected \| nat \| chain KUBE-POSTROUTING \| {2}\| {2}\| -A KUBE-POSTROUTING -j ACCEPT$/,
    ],
    [
      'a jump that was deleted',
      (text) => text.replace(/^-A PREROUTING .*KUBE-SERVICES\n/m, ''),
      /^missing \| nat \| jumps .*-A PREROUTING .*-j KUBE-SERVICES/,
    ],
    [
      'a chain that was deleted',
      (text) => text.replaceAll(/^[:].*KUBE-PROXY-CANARY.*\n/gm, ''),
      /^missing \| (filter|nat|mangle) \| chain KUBE-PROXY-CANARY/,
    ],
    [
      'a chain of another service proxy',
      (text) =>
        text.replace(
          '*nat\n',
          '*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\n-A KUBE-SVC-AAAAAAAAAAAAAAAA -m comment --comment "ns/x:y -> 10.1.1.1:80" -j RETURN\n',
        ),
      /^unexpected \| nat \| chain KUBE-SVC-AAAAAAAAAAAAAAAA \| ns\/x:y/,
    ],
    [
      'a jump that is there twice',
      (text) => text.replace(/^(-A FORWARD .*KUBE-FORWARD)$/m, '$1\n$1'),
      /^unexpected \| filter \| jumps .*-A FORWARD .*-j KUBE-FORWARD$/,
    ],
    [
      'jumps whose order is another',
      (text) => text.replace(/^(-A FORWARD .*)\n(-A FORWARD .*)$/m, '$2\n$1'),
      /^(missing|unexpected) \| filter \| jumps .*-A FORWARD .*-j KUBE-(FORWARD|PROXY-FIREWALL)/,
    ],
    [
      'a rule of others that leaves nothing for ours',
      (text) => text.replace(/^-A FORWARD .*KUBE-FORWARD$/m, '-A FORWARD -j ACCEPT\n$&'),
      /^unexpected \| filter \| jumps .*-A FORWARD -j ACCEPT$/,
    ],
  ])('differ in %s', (_, change, expected) => {
    const list = told(comparedRules(state, observed(change)));
    expect(list.length).toBeGreaterThan(0);
    for (const each of list) expect(each).toMatch(expected);
  });
});

/** What is told where these stand at the top. */
function inFront(...rules: readonly string[]) {
  const there = observed((text) =>
    rules.reduceRight((rest, each) => rest.replace(/^(-A FORWARD )/m, `${each}\n$1`), text),
  );
  const parts = comparedRules(state, there);
  return { differences: told(parts), named: rulesInFrontOf(editedParts(parts)) };
}

describe('rules of others before ours', () => {
  it('are named where they may decide, and are no differences', () => {
    const rules = [
      '-A FORWARD -j DOCKER-USER',
      '-A FORWARD -s 10.0.0.0/8 -m comment --comment "-j LOG" -j ACCEPT',
    ];
    const { differences, named } = inFront(...rules);
    expect(differences).toEqual([]);
    expect(named).toEqual(rules.map((rule) => ({ part: 'filter', rule })));
  });

  it('are not where packets go on after them, or connections are begun already', () => {
    const { differences, named } = inFront(
      '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A FORWARD -m conntrack ! --ctstate NEW -j ACCEPT',
      '-A FORWARD -m limit --limit 1/sec -j LOG --log-prefix "-j ACCEPT"',
      '-A FORWARD -i eth0',
      '-A FORWARD -j MARK --set-xmark 0x1/0x1',
      '-A FORWARD -j KUBE-ROUTER-FORWARD',
    );
    expect({ differences, named }).toEqual({ differences: [], named: [] });
  });

  it.each([
    ['-A FORWARD -j DROP'],
    ['-A FORWARD -m comment --comment "all of it" -j ACCEPT'],
    ['-A FORWARD -p tcp -j REJECT --reject-with icmp-port-unreachable'],
    ['-A FORWARD -m conntrack --ctstate NEW,RELATED -j RETURN'],
  ])('are differences where they leave nothing: %s', (rule) => {
    const { differences, named } = inFront(rule);
    expect(differences).toEqual([`unexpected | filter | jumps |  |  | ${rule}`]);
    expect(named).toEqual([]);
  });

  it('count for nothing behind ours', () => {
    const there = observed((text) =>
      text.replace(
        /^(?:-A FORWARD .*\n)+/m,
        '$&-A FORWARD -j ACCEPT\n-A FORWARD -s 10.0.0.0/8 -j DROP\n',
      ),
    );
    const parts = comparedRules(state, there);
    expect(told(parts)).toEqual([]);
    expect(rulesInFrontOf(editedParts(parts))).toEqual([]);
  });

  it('are not ours to compare where the kubelet has put its jump below ours', () => {
    const there = observed((text) =>
      text.replace(/^(-A INPUT -j KUBE-FIREWALL\n)((?:-A INPUT .*\n)+)/m, '$2$1'),
    );
    expect(told(comparedRules(state, there))).toEqual([]);
  });
});

describe('what rules that are there show of tools and kernel', () => {
  it.each<[string, Partial<Features>, boolean]>([
    ['all of it', {}, false],
    ['hairpins by a set', { hairpin: 'ipset' }, false],
    ['hairpins by rules, and no random ports', { hairpin: 'rules', randomFully: false }, false],
    ['packets that are counted', { nfacct: true }, false],
    ['no rule against invalid packets', {}, true],
  ])('is %s', (_, some, conntrackBeLiberal) => {
    const features: Features = { ...plainFeatures, ...some };
    const lowered = lowerAll(graph, { ...lowering, features, conntrackBeLiberal });
    const shown = assumedOf(observed((text) => text, lowered));
    expect(shown).toEqual({ features: { ...features, comments: 'auto' }, conntrackBeLiberal });
  });

  it('is everything where there are none', () => {
    const nothing = parseSave('');
    expect(assumedOf({ nat: nothing, filter: nothing, mangle: nothing })).toEqual({
      features: { ...plainFeatures, comments: 'auto' },
      conntrackBeLiberal: false,
    });
  });
});

describe('sets that are wanted beside those that are there', () => {
  const wanted: Pick<IptablesState, 'family' | 'sets'> = {
    family: 'ipv4',
    sets: new Map([
      spec('KUBE-HAIRPIN', 'hash:ip,port,ip family inet', ['10.1.1.1,tcp:80,10.1.1.1']),
      spec('KUBE-AFF-AAAAAAAAAAAAAAAA', 'hash:ip family inet timeout 10800', undefined),
    ]),
  };
  const saved = [
    'create KUBE-HAIRPIN hash:ip,port,ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1',
    'add KUBE-HAIRPIN 10.1.1.1,tcp:80,10.1.1.1',
    'create KUBE-AFF-AAAAAAAAAAAAAAAA hash:ip family inet hashsize 1024 maxelem 65536 timeout 10800',
    'add KUBE-AFF-AAAAAAAAAAAAAAAA 192.0.2.1 timeout 77',
    'create mine hash:ip family inet hashsize 1024 maxelem 65536',
    '',
  ].join('\n');

  it('are equal, whoever has affinity and whatever others have', () => {
    expect(told([comparedSets(wanted, saved, true)])).toEqual([]);
  });

  it('differ in members, parameters, and sets that are gone or left over', () => {
    const other = saved
      .replace(
        'add KUBE-HAIRPIN 10.1.1.1,tcp:80,10.1.1.1',
        'add KUBE-HAIRPIN 10.1.1.2,tcp:80,10.1.1.2',
      )
      .replace('timeout 10800\n', 'timeout 60\n')
      .concat(
        'create KUBE-AFF-BBBBBBBBBBBBBBBB hash:ip family inet hashsize 1024 maxelem 65536 timeout 60\n',
      );
    expect(told([comparedSets(wanted, other, true)]).map((each) => each.slice(0, 60))).toEqual([
      expect.stringContaining('different | sets | set KUBE-AFF-AAAAAAAAAAAAAAAA'),
      expect.stringContaining('unexpected | sets | set KUBE-AFF-BBBBBBBBBBBBBBBB'),
      expect.stringContaining('different | sets | set KUBE-HAIRPIN'),
    ]);
  });
});

describe('virtual servers and addresses that are wanted beside those that are there', () => {
  const { servers, addresses } = lowerIpvs(graph, {
    features: defaultIpvsFeatures,
    masqueradeMark: 0x4000,
    conntrackBeLiberal: false,
    scheduler: 'rr',
    schedulerProblem: () => undefined,
    reserved: () => undefined,
  });
  const wanted = { servers, addresses, excludeCidrs: [cidr('10.99.0.0/16')] };
  const all = ['10.244.1.5:80', '10.244.2.5:80', '10.244.2.6:80'].map((each) => real(each));
  const compare = (lines: readonly string[], bound: readonly string[] = ['10.96.0.10']) =>
    told(
      comparedBalancing(wanted, {
        servers: serverList(...lines),
        bound: new Map(bound.map((each) => [address(each), [32]])),
        sets: new Map(),
      }),
    );

  it('are equal beside those of others, and while something drains', () => {
    const lines = [
      'TCP  10.96.0.10:80 rr',
      ...all,
      real('10.244.2.7:80', 0),
      'TCP  192.0.2.9:80 wlc',
      'TCP  10.99.0.1:80 rr',
    ];
    expect(compare(lines, ['10.96.0.10', '10.99.0.1'])).toEqual([]);
  });

  it.each<[string, readonly string[], readonly string[], readonly string[]]>([
    [
      'a server that is gone',
      [],
      ['10.96.0.10'],
      ['missing | virtual servers | virtual server TCP/10.96.0.10:80 | default/web:http'],
    ],
    [
      'a scheduler',
      ['TCP  10.96.0.10:80 wlc', ...all],
      ['10.96.0.10'],
      [
        'different | virtual servers | virtual server TCP/10.96.0.10:80 | default/web:http | -A -t 10.96.0.10:80 -s rr',
      ],
    ],
    [
      'a weight',
      ['TCP  10.96.0.10:80 rr', ...all.slice(1), real('10.244.1.5:80', 9)],
      ['10.96.0.10'],
      [
        'different | virtual servers | virtual server TCP/10.96.0.10:80 | default/web:http | -a -t 10.96.0.10:80 -r 10.244.1.5:80 -m -w 1',
      ],
    ],
    [
      'a server at an address of ours',
      ['TCP  10.96.0.10:80 rr', ...all, 'TCP  10.96.0.10:99 rr'],
      ['10.96.0.10'],
      ['unexpected | virtual servers | virtual server TCP/10.96.0.10:99'],
    ],
    [
      'an address',
      ['TCP  10.96.0.10:80 rr', ...all],
      ['10.96.0.11'],
      ['different | addresses | addresses of kube-ipvs0 | default/web:http'],
    ],
  ])('differ in %s', (_, lines, bound, expected) => {
    const found = compare(lines, bound);
    expect(found).toHaveLength(expected.length);
    for (const [i, each] of found.entries()) expect(each).toContain(expected[i]);
  });
});
