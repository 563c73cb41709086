// What `sh` and `mh` make of clients depends on the real servers of a virtual server, their weights, their flags and the order in which
// the kernel has them. Whoever was led to an endpoint is led there by the next agent, too.
import { beforeEach, describe, expect, it } from 'vitest';
import { IpvsBackend } from '../../../../src/backends/ipvs/backend.ts';
import type { IpvsState, VirtualServer } from '../../../../src/backends/ipvs/state.ts';
import { FakeIpvsNode } from '../../../support/fake-ipvs-node.ts';
import { backendParts } from '../../../support/ipvs-agents.ts';
import { emptyDelta, emptyGraph } from '../../../support/iptables-states.ts';
import { smallState, virtualServer } from '../../../support/small-ipvs-states.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const { signal } = new AbortController();
const hourMs = 3_600_000;
const at = '-t 10.96.0.1:80';
const hashes = [
  { scheduler: 'sh', schedulerFlags: ['sh-fallback'] },
  { scheduler: 'mh', schedulerFlags: ['mh-fallback', 'mh-port'], persistentSeconds: 600 },
] as const;

let node: FakeIpvsNode;
let clock: VirtualClock;

beforeEach(() => {
  node = new FakeIpvsNode();
  clock = new VirtualClock();
});

function startAgent() {
  const wanted = { state: smallState([]) };
  const backend = new IpvsBackend({
    ...backendParts(node, clock),
    lowering: { lower: () => wanted.state },
    excludeCidrs: [],
    drainSeconds: 60,
    lifetime: signal,
    readTable: node.readTable,
  });
  const sync = async (state: IpvsState): Promise<void> => {
    wanted.state = state;
    const { unprogrammed, failure } = await backend.sync(emptyGraph, emptyDelta, signal);
    expect([unprogrammed, failure]).toEqual([[], undefined]);
  };
  return { backend, sync };
}

const withPods = (kind: Partial<VirtualServer>, ...pods: readonly string[]): IpvsState =>
  smallState([
    virtualServer(
      'web',
      '10.96.0.1:80',
      pods.map((each) => `10.1.0.${each.replace('=', ':80=')}${each.includes('=') ? '' : ':80'}`),
      kind,
    ),
  ]);

/** All that a choice by hash depends on. */
const chosenBy = () => JSON.stringify({ ...node.servers.get(at), realServers: realServers() });
const realServers = () =>
  [...(node.servers.get(at)?.realServers ?? [])].map(([key, { weight }]) => `${key}=${weight}`);

describe.each(hashes)('a virtual server of $scheduler', (kind) => {
  const pods = (...all: readonly string[]) => withPods(kind, ...all);

  it('is the same after a restart, whatever the order in which its endpoints came', async () => {
    const { sync } = startAgent();
    for (const state of [pods('3'), pods('1=2', '3'), pods('1=2', '2', '3')]) await sync(state);
    expect(realServers()).toEqual(['10.1.0.3:80=1', '10.1.0.1:80=2', '10.1.0.2:80=1']);
    const before = chosenBy();
    node.takeRuns();
    await startAgent().sync(pods('1=2', '2', '3'));
    expect(chosenBy()).toBe(before);
    // The kernel does not show flags and times, so that they are said again; nothing is said of real servers.
    expect(node.takeLines().filter((line) => line.includes(at))).toEqual([
      expect.stringMatching(new RegExp(`^-E ${at} -s ${kind.scheduler} `)),
    ]);
  });

  it('is the same after a sync of everything, and after the look of each hour', async () => {
    const { sync, backend } = startAgent();
    for (const state of [pods('3'), pods('1', '3')]) await sync(state);
    const before = chosenBy();
    backend.invalidate();
    await sync(pods('1', '3'));
    expect(chosenBy()).toBe(before);
    await clock.advance(hourMs);
    expect(await backend.audit(signal)).toBeUndefined();
    expect(chosenBy()).toBe(before);
  });

  it('has an endpoint in its old place that comes back before it is drained, even by another agent', async () => {
    const { sync } = startAgent();
    await sync(pods('1', '2', '3'));
    const before = chosenBy();
    node.setConnections(at, '10.1.0.2:80', 1);
    await sync(pods('1', '3'));
    expect(realServers()).toContain('10.1.0.2:80=0');
    await startAgent().sync(pods('1', '2', '3'));
    expect(chosenBy()).toBe(before);
  });

  it('is taken over from a killed agent with what is missing alone put in', async () => {
    await startAgent().sync(pods('1', '2', '3'));
    node.servers.get(at)?.realServers.delete('10.1.0.3:80');
    await startAgent().sync(pods('1', '2', '3'));
    expect(realServers()).toEqual(['10.1.0.1:80=1', '10.1.0.2:80=1', '10.1.0.3:80=1']);
  });
});

describe('a virtual server of dh', () => {
  it('lets an endpoint go at once: while it drained, all who ask would be refused', async () => {
    const { sync } = startAgent();
    await sync(withPods({ scheduler: 'dh' }, '1', '2'));
    node.setConnections(at, '10.1.0.2:80', 1);
    await sync(withPods({ scheduler: 'dh' }, '1'));
    expect(realServers()).toEqual(['10.1.0.1:80=1']);
  });
});
