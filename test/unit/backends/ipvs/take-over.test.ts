// How the ipvs backend replaces another mode on a live node: what comes first, and that nothing of the other is left.
import { beforeEach, describe, expect, it } from 'vitest';
import { IpvsBackend } from '../../../../src/backends/ipvs/backend.ts';
import type { Jump } from '../../../../src/backends/iptables/state.ts';
import { ipvsJumps } from '../../../../src/backends/ipvs/rules.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeIpvsNode } from '../../../support/fake-ipvs-node.ts';
import { emptyDelta, emptyGraph } from '../../../support/iptables-states.ts';
import { smallState, virtualServer } from '../../../support/small-ipvs-states.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const { signal } = new AbortController();
const web = virtualServer('web', '10.96.0.1:80', ['10.1.0.1:80']);
const leaf = 'KUBE-SVC-AAAAAAAAAAAAAAAA';
const portals = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
const outside =
  '-m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES';
const guard = '-j KUBE-FIREWALL';
const own = '-p tcp -m tcp --dport 22 -j ACCEPT';

/** As iptables mode leaves a node, with a rule of the administrator's own. */
const iptablesMode = {
  nat: {
    OUTPUT: [portals],
    'KUBE-SERVICES': ['-m comment --comment "switchyard generation old 7"', `-j ${leaf}`],
    'KUBE-NODEPORTS': ['-j RETURN'],
    'KUBE-MARK-MASQ': ['-j MARK --set-xmark 0x4000/0x4000'],
    'KUBE-POSTROUTING': ['-j MASQUERADE'],
    [leaf]: ['-d 10.96.0.1/32 -j DNAT --to-destination 10.1.0.1:80'],
  },
  filter: {
    INPUT: [outside, guard, own],
    'KUBE-EXTERNAL-SERVICES': ['-d 192.0.2.9/32 -j REJECT'],
    'KUBE-FIREWALL': ['-d 127.0.0.0/8 -j DROP'],
  },
};

/** As kube-proxy's ipvs mode leaves one. */
const upstreamMode = {
  nat: {
    OUTPUT: [portals],
    'KUBE-SERVICES': ['-j KUBE-LOAD-BALANCER'],
    'KUBE-LOAD-BALANCER': ['-j KUBE-MARK-MASQ'],
    'KUBE-NODE-PORT': [],
    'KUBE-MARK-MASQ': ['-j MARK --set-xmark 0x4000/0x4000'],
  },
  filter: {
    INPUT: [
      '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER',
      '-m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL',
      own,
    ],
    OUTPUT: ['-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER'],
    'KUBE-IPVS-FILTER': ['-m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN'],
    'KUBE-IPVS-OUT-FILTER': [],
    'KUBE-PROXY-FIREWALL': ['-j KUBE-SOURCE-RANGES-FIREWALL'],
    'KUBE-SOURCE-RANGES-FIREWALL': ['-j DROP'],
  },
};

let node: FakeIpvsNode;

beforeEach(() => {
  node = new FakeIpvsNode();
});

function given(
  tables: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>,
): void {
  for (const [table, chains] of Object.entries(tables)) {
    const builtIn = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];
    const all = new Map<string, string[]>(builtIn.map((name) => [name, []]));
    for (const [name, rules] of Object.entries(chains)) all.set(name, [...rules]);
    node.tables.set(table, all);
  }
}

const addSet = (name: string, create: string, ...members: readonly string[]): void =>
  void node.sets.set(name, { create, members: new Set(members) });

async function start(
  ownsGuard = false,
  jumps?: readonly Jump[],
  small = smallState([web]),
): Promise<void> {
  const state = jumps ? { ...small, rules: { ...small.rules, jumps } } : small;
  const backend = new IpvsBackend({
    family: 'ipv4',
    tools: node.tools,
    iptables: {
      variant: 'legacy',
      family: 'ipv4',
      version: [1, 8, 9],
      iptables: 'iptables',
      restore: 'iptables-restore',
      save: 'iptables-save',
    },
    log: silentLog,
    lockPaths: { lockFile: '/nowhere/lock', proc: '/nowhere' },
    lowering: { lower: () => state },
    clock: new VirtualClock(),
    instanceId: 'one',
    excludeCidrs: [],
    drainSeconds: 60,
    lifetime: signal,
    readTable: node.readTable,
    ownsGuard: () => ownsGuard,
  });
  await backend.sync(emptyGraph, emptyDelta, signal);
}

const rules = (table: string, chain: string) => node.tables.get(table)?.get(chain);
const ownChains = (table: string) =>
  [...(node.tables.get(table)?.keys() ?? [])].filter((name) => name.startsWith('KUBE-')).toSorted();

describe('a node in iptables mode', () => {
  it('gets sets and the guard, virtual servers, addresses, one restore of all, and then loses the old', async () => {
    given(iptablesMode);
    addSet('KUBE-AFF-AAAAAAAAAAAAAAAA', 'hash:ip family inet timeout 60', '192.0.2.7');
    const order: string[] = [];
    node.fails = ({ tool, args, input }) => {
      if (!/restore|batch/.test(`${tool} ${args.join(' ')}`)) return undefined;
      const replaces = input.includes(':KUBE-SERVICES');
      const what = replaces
        ? 'all'
        : (/^-X|^destroy/m.exec(input)?.[0] ?? input.split(' ')[0] ?? '');
      const table = input.startsWith('*filter') && !replaces ? 'guard' : what;
      order.push(`${tool}: ${/^-X/m.test(input) ? '-X' : table}`);
      return undefined;
    };
    await start();
    expect(order).toEqual([
      'ipset: create',
      'iptables-restore: guard',
      'ipvsadm: -A',
      'ip: link',
      'ipset: create',
      'iptables-restore: all',
      'iptables-restore: -X',
      'ipset: destroy',
    ]);
    expect(ownChains('nat')).toEqual(['KUBE-SERVICES']);
  });

  it('opens what was closed without a virtual server before the rules that served it are replaced', async () => {
    given(iptablesMode);
    const nodePort = virtualServer('web', '192.0.2.1:30080', ['10.1.0.1:80']);
    const all = smallState([web, nodePort]);
    const addresses = new Map([...all.addresses].filter(([each]) => each !== nodePort.address));
    const steps: string[] = [];
    node.fails = ({ tool, input }) => {
      const step = /^(?:add|del) .*CLOSED.*|^-A -t 192.*|^:KUBE-SERVICES/gm;
      for (const [line] of input.matchAll(step)) steps.push(`${tool}: ${line}`);
      return undefined;
    };
    await start(false, undefined, { ...all, addresses });
    expect(steps).toEqual([
      'ipset: add -exist KUBE-IPVS-CLOSED-1 192.0.2.1,tcp:30080',
      'ipvsadm: -A -t 192.0.2.1:30080 -s rr',
      'ipset: del -exist KUBE-IPVS-CLOSED-1 192.0.2.1,tcp:30080',
      'iptables-restore: :KUBE-SERVICES',
      'iptables-restore: :KUBE-SERVICES',
    ]);
  });

  it('keeps its rules in force where the virtual servers cannot be made', async () => {
    given(iptablesMode);
    node.refuses = (line) => (line.startsWith('-A') ? 'No such file or directory' : undefined);
    node.fails = ({ tool }) =>
      tool === 'ipvsadm' ? { exitCode: 255, stderr: "Can't initialize ipvs" } : undefined;
    await expect(start()).rejects.toThrow(/ipvs cannot be used/);
    expect(rules('nat', 'KUBE-SERVICES')).toEqual(iptablesMode.nat['KUBE-SERVICES']);
    expect(node.device).toBeUndefined();
  });

  it('keeps its rules in force where the sets cannot be made', async () => {
    given(iptablesMode);
    node.fails = ({ tool, args }) => {
      if (tool !== 'ipset' || args[0] !== 'restore') return undefined;
      return { exitCode: 1, stderr: 'ipset v7.17: Cannot open session to kernel.\n' };
    };
    await expect(start()).rejects.toThrow(/Cannot open session/);
    expect(rules('nat', 'KUBE-SERVICES')).toEqual(iptablesMode.nat['KUBE-SERVICES']);
    expect([node.device, node.servers.size]).toEqual([undefined, 0]);
  });

  it('keeps a KUBE-FIREWALL that may be the kubelet’s, and the administrator’s own rules', async () => {
    given(iptablesMode);
    await start();
    expect(rules('filter', 'INPUT')?.slice(-2)).toEqual([guard, own]);
    expect(ownChains('filter')).toEqual(['KUBE-FIREWALL', 'KUBE-IPVS-FILTER', 'KUBE-SERVICES']);
  });

  it('loses a KUBE-FIREWALL that Switchyard has made', async () => {
    given(iptablesMode);
    await start(true);
    expect(rules('filter', 'INPUT')).not.toContain(guard);
    expect(ownChains('filter')).toEqual(['KUBE-IPVS-FILTER', 'KUBE-SERVICES']);
  });

  it('keeps that too where a kubelet lives', async () => {
    given({ ...iptablesMode, mangle: { 'KUBE-KUBELET-CANARY': [] } });
    await start(true);
    expect(rules('filter', 'INPUT')).toContain(guard);
  });
});

describe('a node in kube-proxy’s ipvs mode', () => {
  beforeEach(() => {
    given(upstreamMode);
    node.device = new Set(['10.96.0.1', '10.96.0.7']);
    const real = { weight: 1, connections: 3 };
    const others = { scheduler: 'wlc', persistent: undefined, realServers: new Map() };
    const reals = new Map([['10.1.0.1:80', { ...real }]]);
    node.servers.set('-t 10.96.0.1:80', {
      scheduler: 'rr',
      persistent: undefined,
      realServers: reals,
    });
    for (const place of ['10.96.0.7:80', '192.0.2.1:30080', '203.0.113.1:99'])
      node.servers.set(`-t ${place}`, { ...others });
    addSet('KUBE-CLUSTER-IP', 'hash:ip,port family inet', '10.96.0.1,tcp:80', '10.96.0.7,tcp:80');
    addSet('KUBE-NODE-PORT-TCP', 'bitmap:port range 0-65535', '30080');
    addSet('KUBE-IPVS-IPS', 'hash:ip family inet', '10.96.0.1', '10.96.0.7');
    addSet('KUBE-6-NODE-PORT-TCP', 'bitmap:port range 0-65535', '30080');
    addSet('mine', 'hash:ip,port family inet', '10.96.0.1,tcp:80');
  });

  it('keeps virtual servers and addresses that are wanted as they are; what nobody wants goes', async () => {
    await start();
    expect(node.takeLines()).toEqual(['-D -t 10.96.0.7:80', '-D -t 192.0.2.1:30080']);
    expect([...(node.device ?? [])]).toEqual(['10.96.0.1']);
    expect([...node.servers.keys()]).toEqual(['-t 10.96.0.1:80', '-t 203.0.113.1:99']);
  });

  it('loses its chains, its jumps and the sets of this family, and nothing of anybody else', async () => {
    await start();
    expect(ownChains('nat')).toEqual(['KUBE-SERVICES']);
    expect(ownChains('filter')).toEqual(['KUBE-IPVS-FILTER', 'KUBE-SERVICES']);
    expect(rules('filter', 'INPUT')).toEqual([expect.stringMatching(/KUBE-IPVS-FILTER$/), own]);
    expect(rules('filter', 'OUTPUT')).toEqual([]);
    expect([...node.sets.keys()].toSorted()).toEqual([
      'KUBE-6-NODE-PORT-TCP',
      'KUBE-IPVS-CLOSED-1',
      'KUBE-IPVS-REJECTED-1',
      'KUBE-IPVS-SERVED-1',
      'mine',
    ]);
  });

  it('has its jump to the filter replaced with the first change of what is behind: it leads replies there, too', async () => {
    await start(false, ipvsJumps());
    const restore = node.tools.runs.find(({ input }) => input.includes('*filter'));
    const steps = restore?.input.match(/^(?:\*.*|-[DIA] .*KUBE-IPVS-FILTER.*|COMMIT)$/gm);
    const toFilter = '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER';
    expect(steps?.slice(0, 6)).toEqual([
      '*filter',
      `-D INPUT ${toFilter}`,
      `-I INPUT ! -i lo -m conntrack --ctstate NEW ${toFilter}`,
      `-I OUTPUT -m conntrack --ctstate NEW ${toFilter}`,
      '-I KUBE-IPVS-FILTER -j RETURN',
      'COMMIT',
    ]);
  });
});
