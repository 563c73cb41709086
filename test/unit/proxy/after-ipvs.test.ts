// The iptables mode on a node that comes from an ipvs mode: what connections of ipvs still need, and when it goes.
import { beforeEach, describe, expect, it } from 'vitest';
import { IptablesBackend } from '../../../src/backends/iptables/backend.ts';
import { IpvsBackend } from '../../../src/backends/ipvs/backend.ts';
import { IpvsRemains } from '../../../src/backends/ipvs/remains.ts';
import type { Family } from '../../../src/ip/address.ts';
import type { Cidr } from '../../../src/ip/cidr.ts';
import { AfterIpvs } from '../../../src/proxy/after-ipvs.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { FakeIpvsNode } from '../../support/fake-ipvs-node.ts';
import {
  chain,
  emptyDelta,
  emptyGraph,
  ipset,
  rule,
  state,
} from '../../support/iptables-states.ts';
import { cidr } from '../../support/service-ports.ts';
import { smallState, virtualServer } from '../../support/small-ipvs-states.ts';
import { VirtualClock } from './virtual-clock.ts';

const { signal } = new AbortController();
const atWeb = '-t 10.96.0.1:80';
const web = virtualServer('web', '10.96.0.1:80', ['10.1.0.1:80']);
const nodePort = virtualServer('web', '192.0.2.1:30080', ['10.1.0.1:80']);
const translates = '-d 10.96.0.1/32 -j DNAT --to-destination 10.1.0.1:80';
const setsMark = '-j MARK --set-xmark 0x4000/0x4000';
const masquerades = '-j MASQUERADE';
const hides = `-m conntrack --ctstate DNAT -m set --match-set KUBE-IPVS-BOUND-1 src ${setsMark}`;
const drainMs = 60_000;

let node: FakeIpvsNode;
let clock: VirtualClock;
let ending: AbortController;
let isSettled: number;

beforeEach(() => {
  node = new FakeIpvsNode();
  clock = new VirtualClock();
  ending = new AbortController();
  isSettled = 0;
});

const port = (family: Family = 'ipv4') => ({
  family,
  tools: node.tools,
  iptables: {
    variant: 'legacy' as const,
    family,
    version: [1, 8, 9] as const,
    iptables: 'iptables',
    restore: 'iptables-restore',
    save: 'iptables-save',
  },
  log: silentLog,
  lockPaths: { lockFile: '/nowhere/lock', proc: '/nowhere' },
  clock,
  instanceId: 'one',
});

/** Runs ipvs mode, which leaves its state with three open connections to the Service and one over its node port. */
async function ranIpvs(): Promise<void> {
  const small = smallState([web, nodePort]);
  const bound = ipset('KUBE-IPVS-BOUND-1', 'hash:ip family inet', ['10.96.0.1']);
  const sets = new Map([...small.rules.sets, [bound.name, bound]]);
  const addresses = new Map([...small.addresses].filter(([address]) => address === '10.96.0.1'));
  const backend = new IpvsBackend({
    ...port(),
    lowering: { lower: () => ({ ...small, addresses, rules: { ...small.rules, sets } }) },
    excludeCidrs: [],
    drainSeconds: 60,
    lifetime: signal,
    readTable: node.readTable,
  });
  await backend.sync(emptyGraph, emptyDelta, signal);
  node.setConnections(atWeb, '10.1.0.1:80', 3);
  node.setConnections('-t 192.0.2.1:30080', '10.1.0.1:80', 1);
  node.takeRuns();
}

const settled = async () => void isSettled++;

/** The agent in iptables mode. */
function agent(family: Family = 'ipv4', excludeCidrs: readonly Cidr[] = []) {
  const chains = state({
    nat: [
      chain('KUBE-SERVICES', 'root', rule(translates)),
      chain('KUBE-NODEPORTS', 'root'),
      chain('KUBE-MARK-MASQ', 'root', rule(setsMark)),
      chain('KUBE-POSTROUTING', 'root', rule(masquerades)),
    ],
    filter: [chain('KUBE-SERVICES', 'root')],
  });
  const wanted = { ...chains, family };
  const own = port(family);
  const remains = new IpvsRemains({ ...own, excludeCidrs, readTable: node.readTable });
  const parts = { ...own, remains, drainMs, lifetime: ending.signal, onGone: settled };
  const backend = new AfterIpvs(
    parts,
    (hooks) => new IptablesBackend({ ...own, ...hooks, lowering: { lower: () => wanted } }),
  );
  return { backend, sync: async () => backend.sync(emptyGraph, emptyDelta, signal) };
}

const closeAll = () => {
  node.setConnections(atWeb, '10.1.0.1:80', 0);
  node.setConnections('-t 192.0.2.1:30080', '10.1.0.1:80', 0);
};
const rules = (table: string, name: string) => node.tables.get(table)?.get(name);
const left = () => ({
  servers: node.balancing(),
  device: node.device && [...node.device],
  sets: [...node.sets.keys()],
  guard: rules('filter', 'KUBE-IPVS-FILTER')?.length,
});
const nothing = { servers: [], device: undefined, sets: [], guard: undefined };

describe('iptables mode after ipvs mode', () => {
  it('translates from the first restore on, which is one, and ipvs takes no new connection after it', async () => {
    await ranIpvs();
    const { sync } = agent();
    await sync();
    await clock.advance(0);
    expect(rules('nat', 'KUBE-SERVICES')?.slice(1)).toEqual([translates]);
    expect(rules('nat', 'KUBE-POSTROUTING')).toEqual([hides, masquerades]);
    expect(node.balancing()).toEqual([
      '-t 10.96.0.1:80 rr: 10.1.0.1:80=0',
      '-t 192.0.2.1:30080 rr: 10.1.0.1:80=0',
    ]);
    const writes = node.tools.runs.filter(
      ({ tool, args }) => tool === 'iptables-restore' || args.includes('--restore'),
    );
    const [all, weights, guard] = writes.map(({ input }) => input);
    expect(all).toMatch(/^\*nat[^]*DNAT/m);
    expect(all).not.toContain('-j REJECT');
    expect(guard).toContain('-j REJECT');
    expect(weights).toMatch(/^-e .* -w 0$/m);
  });

  it('leaves what is excluded as it is, and the link for it; then nothing of ipvs is left', async () => {
    await ranIpvs();
    const own = '-t 203.0.113.9:80';
    const realServers = new Map([['10.9.9.9:80', { weight: 3, connections: 7 }]]);
    node.servers.set(own, { scheduler: 'wlc', persistent: undefined, realServers });
    node.device?.add('203.0.113.9');
    const excludeCidrs = [cidr('203.0.113.0/24')];
    const { sync, backend } = agent('ipv4', excludeCidrs);
    await sync();
    closeAll();
    await clock.advance(10_000);
    await backend.ended();
    const after = { servers: [`${own} wlc: 10.9.9.9:80=3`], device: ['203.0.113.9'] };
    expect(left()).toMatchObject(after);
    expect(isSettled).toBe(1);
    const next = agent('ipv4', excludeCidrs);
    await next.sync();
    await next.backend.ended();
    expect(left()).toMatchObject(after);
    expect(isSettled).toBe(2);
  });

  it('refuses what is no service’s at an address that is still bound, and keeps its sets', async () => {
    await ranIpvs();
    const { sync } = agent();
    await sync();
    await clock.advance(0);
    expect(rules('filter', 'KUBE-IPVS-FILTER')).toEqual([
      '-p icmp -j RETURN',
      '-p tcp -m set --match-set KUBE-IPVS-BOUND-1 dst -j REJECT --reject-with tcp-reset',
      '-m set --match-set KUBE-IPVS-BOUND-1 dst -j REJECT --reject-with icmp-port-unreachable',
    ]);
    expect(left()).toMatchObject({
      device: ['10.96.0.1'],
      sets: [
        'KUBE-IPVS-CLOSED-1',
        'KUBE-IPVS-SERVED-1',
        'KUBE-IPVS-REJECTED-1',
        'KUBE-IPVS-BOUND-1',
      ],
    });
  });

  it('removes everything once the last connection has ended', async () => {
    await ranIpvs();
    const { backend, sync } = agent();
    await sync();
    await clock.advance(drainMs / 2);
    expect(left()).toMatchObject({ device: ['10.96.0.1'] });
    closeAll();
    await clock.advance(5000);
    await backend.ended();
    expect(left()).toEqual(nothing);
    expect(rules('nat', 'KUBE-POSTROUTING')).toEqual([masquerades]);
    expect(rules('filter', 'INPUT')).toEqual([]);
    expect(isSettled).toBe(1);
    await sync();
    expect(left()).toEqual(nothing);
  });

  it('gives connections up at the deadline: servers first, addresses when all have been told', async () => {
    await ranIpvs();
    const { backend, sync } = agent();
    await sync();
    await clock.advance(drainMs);
    expect(left()).toMatchObject({ servers: [], device: ['10.96.0.1'], guard: 3 });
    await clock.advance(10_000);
    await backend.ended();
    expect(left()).toEqual(nothing);
  });

  it('goes on with it after a restart', async () => {
    await ranIpvs();
    const first = agent();
    await first.sync();
    await clock.advance(1000);
    ending.abort();
    await first.backend.ended();
    expect(left()).toMatchObject({ device: ['10.96.0.1'] });
    ending = new AbortController();
    const second = agent();
    await second.sync();
    expect(rules('nat', 'KUBE-SERVICES')?.slice(1)).toEqual([translates]);
    expect(rules('nat', 'KUBE-POSTROUTING')).toEqual([hides, masquerades]);
    closeAll();
    await clock.advance(5000);
    await second.backend.ended();
    expect(left()).toEqual(nothing);
  });

  it('tries again what fails', async () => {
    await ranIpvs();
    const { backend, sync } = agent();
    await sync();
    closeAll();
    node.refuses = (line) =>
      line.startsWith('address del') ? 'Operation not permitted' : undefined;
    await clock.advance(drainMs);
    expect(left()).toMatchObject({ device: ['10.96.0.1'], guard: 3 });
    node.refuses = () => undefined;
    await clock.advance(drainMs);
    await backend.ended();
    expect(left()).toEqual(nothing);
  });

  it('leaves virtual servers of others alone', async () => {
    await ranIpvs();
    const reals = new Map([['10.9.0.1:80', { weight: 1, connections: 9 }]]);
    node.servers.set('-t 10.9.9.9:80', {
      scheduler: 'wlc',
      persistent: undefined,
      realServers: reals,
    });
    closeAll();
    const { backend, sync } = agent();
    await sync();
    await clock.advance(5000);
    await backend.ended();
    expect(left()).toEqual({ ...nothing, servers: ['-t 10.9.9.9:80 wlc: 10.9.0.1:80=1'] });
  });

  it('sees what the kernel’s table leaves out, too', async () => {
    await ranIpvs();
    node.leftOut.add('-t 192.0.2.1:30080');
    const { backend, sync } = agent();
    await sync();
    await clock.advance(5000);
    node.setConnections(atWeb, '10.1.0.1:80', 0);
    await clock.advance(5000);
    expect(node.balancing()).toHaveLength(2);
    closeAll();
    await clock.advance(5000);
    await backend.ended();
    expect(left()).toEqual(nothing);
  });

  it('keeps the settings of ipvs while the other family has something left', async () => {
    await ranIpvs();
    await agent('ipv6').sync();
    await clock.advance(drainMs);
    expect(isSettled).toBe(0);
    expect(left()).toMatchObject({ device: ['10.96.0.1'] });
    const { backend, sync } = agent();
    closeAll();
    await sync();
    await clock.advance(5000);
    await backend.ended();
    expect(left()).toMatchObject({ servers: [], device: undefined });
    expect(isSettled).toBe(1);
  });

  it('removes the link of an ipvs mode that had no Services', async () => {
    node.device = new Set();
    const { backend, sync } = agent();
    await sync();
    await clock.advance(5000);
    await backend.ended();
    expect(left()).toEqual(nothing);
    expect(isSettled).toBe(1);
  });

  it.each(['ipvsadm', 'ipset'])(
    'needs no %s where all virtual servers are somebody else’s',
    async (missing) => {
      const director = { scheduler: 'wlc', persistent: undefined, realServers: new Map() };
      node.servers.set('-t 192.0.2.1:6443', director);
      node.fails = ({ tool }) => (tool === missing ? 'missing' : undefined);
      await agent().sync();
      expect(rules('nat', 'KUBE-SERVICES')?.slice(1)).toEqual([translates]);
      expect([...node.servers.keys()]).toEqual(['-t 192.0.2.1:6443']);
    },
  );

  it('is as ever where there was no ipvs mode: one look, and no tool of ipvs', async () => {
    const { sync } = agent();
    await sync();
    const runs = node.takeRuns().map((run) => run.split(' ')[0]);
    expect(runs.filter((tool) => tool === 'ip' || tool === 'ipvsadm')).toEqual(['ip']);
    expect(rules('nat', 'KUBE-SERVICES')?.slice(1)).toEqual([translates]);
    expect(isSettled).toBe(1);
  });
});
