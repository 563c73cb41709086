// What the ipvs backend does to the kernel, and what it leaves alone: every run of a tool counts.
import { beforeEach, describe, expect, it } from 'vitest';
import { IpvsBackend } from '../../../../src/backends/ipvs/backend.ts';
import type { IpvsBackendParts } from '../../../../src/backends/ipvs/backend.ts';
import type { IpvsState } from '../../../../src/backends/ipvs/state.ts';
import type { GraphDelta } from '../../../../src/graph/rule-graph.ts';
import { parseCidr } from '../../../../src/ip/cidr.ts';
import type { Cidr } from '../../../../src/ip/cidr.ts';
import type { ServiceName } from '../../../../src/services/service-port.ts';
import { address as parsed, endpoint, servicePort } from '../../../support/service-ports.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import type { Log } from '../../../../src/telemetry/log.ts';
import { FakeIpvsNode } from '../../../support/fake-ipvs-node.ts';
import { emptyDelta, emptyGraph } from '../../../support/iptables-states.ts';
import { ipvsState } from '../../../support/ipvs-states.ts';
import { smallState, virtualServer } from '../../../support/small-ipvs-states.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const { signal } = new AbortController();
const web = virtualServer('web', '10.96.0.1:80', ['10.1.0.1:80', '10.1.0.2:80']);
const dns = virtualServer('dns', '10.96.0.10:53', ['10.1.0.9:53'], { protocol: 'UDP' });
const webWith = (...reals: string[]) => virtualServer('web', '10.96.0.1:80', reals);
const hourMs = 3_600_000;
/** As ipvsadm names the virtual server of web. */
const atWeb = '-t 10.96.0.1:80';

let node: FakeIpvsNode;
let clock: VirtualClock;
let ending: AbortController;

beforeEach(() => {
  node = new FakeIpvsNode();
  clock = new VirtualClock();
  ending = new AbortController();
});

function agent(parts: Partial<IpvsBackendParts> = {}) {
  const wanted = { state: smallState([]) };
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
    lowering: { lower: () => wanted.state },
    clock,
    instanceId: 'one',
    excludeCidrs: [],
    drainSeconds: 60,
    lifetime: ending.signal,
    readTable: node.readTable,
    ...parts,
  });
  const sync = async (state: IpvsState) => {
    wanted.state = state;
    return backend.sync(emptyGraph, emptyDelta, signal);
  };
  return { backend, sync };
}

const bound = (): readonly string[] => [...(node.device ?? [])].toSorted();
const closed = (): readonly string[] => members('KUBE-IPVS-CLOSED-1');
const boundMembers = (): readonly string[] => members('KUBE-IPVS-BOUND-1').toSorted();
const members = (set: string): readonly string[] => [...(node.sets.get(set)?.members ?? [])];

function others(...places: readonly string[]): void {
  for (const place of places)
    node.servers.set(place, { scheduler: 'wlc', persistent: undefined, realServers: new Map() });
}

const setOf = (create: string, member: string) => ({ create, members: new Set([member]) });
/** The real servers of the only virtual server. */
const reals = () => node.balancing()[0]?.replace(/.*: /, '');
const snapshot = () => ({
  balancing: node.balancing().toSorted(),
  bound: bound(),
  sets: [...node.sets.keys()].map((name) => [name, ...members(name)].join(' ')).toSorted(),
});
const secondReal = () => node.servers.get(atWeb)?.realServers.get('10.1.0.2:80') ?? {};

describe('syncs of the ipvs backend', () => {
  it('puts everything in: sets and rules first, then virtual servers, then addresses', async () => {
    const { sync } = agent();
    const report = await sync(smallState([web, dns]));
    expect(report).toMatchObject({ full: true, unprogrammed: [], failure: undefined });
    expect(node.balancing()).toEqual([
      '-t 10.96.0.1:80 rr: 10.1.0.1:80=1 10.1.0.2:80=1',
      '-u 10.96.0.10:53 rr: 10.1.0.9:53=1',
    ]);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10']);
    const writes = node.takeRuns().filter((run) => /restore|batch/.test(run));
    expect(writes.map((run) => run.split(' ')[0])).toEqual([
      'ipset',
      'iptables-restore',
      'ipvsadm',
      'ip',
    ]);
  });

  it('runs no tool where nothing has changed, whatever the number of syncs', async () => {
    const { sync } = agent();
    await sync(smallState([web, dns]));
    node.takeRuns();
    const same = smallState([web, dns]);
    await sync(same);
    await sync(same);
    expect(node.takeRuns()).toEqual([]);
  });

  it('writes a new endpoint by one line of one run', async () => {
    const { sync } = agent();
    await sync(smallState([web, dns]));
    node.takeRuns();
    await sync(smallState([webWith('10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80=2'), dns]));
    expect(node.tools.runs).toHaveLength(1);
    expect(node.takeLines()).toEqual([`-a ${atWeb} -r 10.1.0.3:80 -m -w 2`]);
  });

  it('takes a service away from the outside in, each tool once', async () => {
    const { sync } = agent();
    await sync(smallState([web, dns]));
    node.takeRuns();
    await sync(smallState([web]));
    expect(node.takeRuns()).toEqual(['ip -force -batch -', 'ipvsadm --restore', 'ipset restore']);
    expect(node.balancing()).toHaveLength(1);
    expect(bound()).toEqual(['10.96.0.1']);
    expect(members('KUBE-IPVS-SERVED-1')).toEqual(['10.96.0.1,tcp:80']);
  });

  it('lets a service come before another goes', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    node.takeRuns();
    await sync(smallState([dns]));
    expect(node.takeRuns()).toEqual([
      'ipset restore',
      'ipvsadm --restore',
      'ip -force -batch -',
      'ipvsadm --restore',
      'ipset restore',
    ]);
    expect(node.balancing()).toEqual(['-u 10.96.0.10:53 rr: 10.1.0.9:53=1']);
  });

  it('asks for schedulers before it lowers, and lowers everything where an answer changes', async () => {
    const asked: string[] = [];
    const inquiry = { version: 0, ready: async () => void asked.push('ready') };
    const lowering = {
      lower: (_: unknown, { everything }: GraphDelta) => {
        asked.push(everything ? 'everything' : 'what changed');
        return smallState([web]);
      },
    };
    const { backend } = agent({ schedulers: inquiry, lowering });
    const sync = async () => backend.sync(emptyGraph, emptyDelta, signal);
    await sync();
    await sync();
    inquiry.version = 1;
    await sync();
    await sync();
    const lowered = ['everything', 'what changed', 'everything', 'what changed'];
    expect(asked).toEqual(lowered.flatMap((each) => ['ready', each]));
  });

  it('says what a Service asked for and does not get, once while it is so', async () => {
    const warnings: string[] = [];
    const log: Log = { ...silentLog, warn: (_, words) => void warnings.push(words) };
    const { sync } = agent({ log });
    const short = [{ origin: web.origin, reason: 'its weights do not count' }];
    const syncWith = async (shortfalls: IpvsState['shortfalls']) =>
      sync({ ...smallState([web]), shortfalls });
    await syncWith(short);
    await syncWith([...short]);
    expect(warnings).toEqual([`${web.origin.name}: its weights do not count`]);
    await syncWith([]);
    await syncWith(short);
    expect(warnings).toHaveLength(2);
  });

  it('changes scheduler, flags and persistence in place', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    node.takeRuns();
    const asked = { scheduler: 'mh', schedulerFlags: ['mh-port'], persistentSeconds: 10_800 };
    await sync(smallState([{ ...web, ...asked }]));
    expect(node.takeLines()).toEqual([`-E ${atWeb} -s mh -p 10800 -b mh-port`]);
  });

  it('reads the kernel at its start alone, and takes what is right in it for done', async () => {
    await agent().sync(smallState([web, dns]));
    node.takeRuns();
    await agent().sync(smallState([web, dns]));
    const runs = node.takeRuns();
    expect(runs).not.toContain('ipvsadm --restore');
    expect(runs.filter((run) => run.startsWith('ip '))).toEqual(['ip address show dev kube-ipvs0']);
  });

  it('gives a wanted real server its weight after a restart', async () => {
    await agent().sync(smallState([web]));
    const real = node.servers.get(atWeb)?.realServers.get('10.1.0.2:80');
    if (real) real.weight = 0;
    node.takeRuns();
    await agent().sync(smallState([web]));
    expect(node.takeLines()).toEqual([`-e ${atWeb} -r 10.1.0.2:80 -m -w 1`]);
  });

  it('writes persistent servers once after a restart, whose times the kernel’s table does not tell', async () => {
    const sticky = { ...web, persistentSeconds: 30 };
    await agent().sync(smallState([sticky]));
    node.takeRuns();
    const { sync } = agent();
    await sync(smallState([sticky]));
    expect(node.takeLines()).toEqual([`-E ${atWeb} -s rr -p 30`]);
    await sync(smallState([sticky]));
    expect(node.takeRuns()).toEqual([]);
  });

  it('does so again where a sync has failed: nothing is taken for done that may not be', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    node.fails = ({ tool }) => (tool === 'ip' ? { exitCode: 1, stderr: 'no netlink' } : undefined);
    await expect(sync(smallState([web, dns]))).rejects.toMatchObject({ retryable: true });
    node.fails = () => undefined;
    expect(await sync(smallState([web, dns]))).toMatchObject({ full: true });
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10']);
  });
});

describe('frontends without their virtual server', () => {
  const other = virtualServer('other', '10.96.0.1:81', ['10.1.0.1:80']);

  it('are closed while it comes or goes at an address that stays', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    const seen = new Set<string>();
    node.onStep = () => void seen.add(closed().join());
    await sync(smallState([web, other]));
    expect([...seen]).toEqual(['10.96.0.1,tcp:81', '']);
    seen.clear();
    await sync(smallState([web]));
    expect([...seen]).toEqual(['10.96.0.1,tcp:81', '']);
  });

  it('are left alone where the address comes or goes with it', async () => {
    const seen = new Set<string>();
    node.onStep = () => void seen.add(closed().join());
    const { sync } = agent();
    await sync(smallState([web]));
    await sync(smallState([dns]));
    expect([...seen]).toEqual(['']);
  });

  it('stay closed where the kernel refuses it, beside another that is served', async () => {
    let isRefused = true;
    node.refuses = (line) => (isRefused && line.includes(':81') ? 'no' : undefined);
    const { sync } = agent();
    await sync(smallState([web, other]));
    expect({ bound: bound(), closed: closed() }).toEqual({
      bound: ['10.96.0.1'],
      closed: ['10.96.0.1,tcp:81'],
    });
    isRefused = false;
    await sync(smallState([web, other]));
    expect(closed()).toEqual([]);
  });

  it('are closed where a run was killed before the sets said so, and their address comes again', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    node.fails = ({ input }) => {
      if (input.includes('del -exist KUBE-IPVS-SERVED')) throw new Error('killed');
      return undefined;
    };
    await expect(sync(smallState([]))).rejects.toThrow('killed');
    expect([members('KUBE-IPVS-SERVED-1'), node.balancing()]).toEqual([['10.96.0.1,tcp:80'], []]);
    node.fails = () => undefined;
    const refused: boolean[] = [];
    node.onStep = (tool, line) => {
      if (tool === 'ip' && line.startsWith('address add'))
        refused.push(closed().includes('10.96.0.1,tcp:80'));
    };
    await agent().sync(smallState([virtualServer('other', '10.96.0.1:81', ['10.1.0.3:80'])]));
    expect(refused).toEqual([true]);
    expect([members('KUBE-IPVS-SERVED-1'), closed()]).toEqual([['10.96.0.1,tcp:81'], []]);
  });

  it('are opened by the next run where one was killed in between', async () => {
    const broken = { exitCode: 255, stderr: "Can't initialize ipvs" };
    const { sync } = agent();
    await sync(smallState([web]));
    node.fails = ({ tool }) => (tool === 'ipvsadm' ? broken : undefined);
    await expect(sync(smallState([web, other]))).rejects.toThrow(/cannot be used/);
    expect(closed()).toEqual(['10.96.0.1,tcp:81']);
    node.fails = () => undefined;
    await agent().sync(smallState([web, other]));
    expect(closed()).toEqual([]);
  });
});

describe('what the ipvs backend takes for its own', () => {
  it('is what its sets name, and what is on kube-ipvs0; all else stays', async () => {
    await agent().sync(smallState([web, dns]));
    others('-t 10.9.9.9:80', '-t 10.96.0.1:8080', '-f 7');
    node.device?.delete('10.96.0.10');
    await agent().sync(smallState([]));
    expect([...node.servers.keys()]).toEqual(['-t 10.9.9.9:80', '-f 7']);
  });

  it('is what the sets of kube-proxy name, node ports of any address among them', async () => {
    node.sets.set('KUBE-CLUSTER-IP', setOf('hash:ip,port family inet', '10.96.0.7,tcp:80'));
    node.sets.set('KUBE-NODE-PORT-TCP', setOf('bitmap:port range 0-65535', '30080'));
    others('-t 10.96.0.7:80', '-t 192.0.2.1:30080', '-u 192.0.2.1:30080');
    await agent().sync(smallState([web]));
    expect([...node.servers.keys()]).toEqual(['-u 192.0.2.1:30080', atWeb]);
  });

  it('is nothing that --ipvs-exclude-cidrs names', async () => {
    await agent().sync(smallState([web, dns]));
    const { sync, backend } = agent({ excludeCidrs: [parseCidr('10.96.0.10/32') as Cidr] });
    await sync(smallState([web]));
    expect([...node.servers.keys()]).toEqual([atWeb, '-u 10.96.0.10:53']);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10']);
    node.takeRuns();
    await sync(smallState([web]));
    expect(node.takeRuns()).toEqual([]);
    expect(await backend.audit(signal)).toBeUndefined();
  });
});

describe('addresses that the ipvs backend must not take', () => {
  it('are in the report of each sync, and no reason to repeat it', async () => {
    const { sync } = agent();
    const refused = [
      { address: parsed('192.0.2.2'), origin: web.origin, reason: 'of Node node-b' },
    ];
    const state = { ...smallState([web]), refused };
    for (let i = 0; i < 2; i++) {
      const report = await sync(state);
      expect(report.refusedAddresses).toEqual(refused);
      expect([report.unprogrammed, report.failure]).toEqual([[], undefined]);
    }
  });
});

describe('draining in the ipvs backend', () => {
  it('keeps a real server with connections at weight 0 until the last has ended', async () => {
    const seen: string[] = [];
    const { sync, backend } = agent({
      onDraining: ({ count, oldestMs }) => void seen.push(`${count} for ${oldestMs}`),
    });
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 3);
    node.takeRuns();
    await sync(smallState([webWith('10.1.0.1:80')]));
    expect(node.takeLines()).toEqual([`-e ${atWeb} -r 10.1.0.2:80 -m -w 0`]);
    await clock.advance(10_000);
    expect(node.takeRuns()).toEqual([]);
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
    node.setConnections(atWeb, '10.1.0.2:80', 0);
    await clock.advance(5000);
    expect(node.takeLines()).toEqual([`-d ${atWeb} -r 10.1.0.2:80`]);
    await backend.ended();
    expect(seen).toEqual(['0 for 0', '1 for 0', '1 for 5000', '1 for 10000', '0 for 0']);
  });

  it('ends at the deadline of the Service, or else of the node', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.1:80', 3);
    node.setConnections(atWeb, '10.1.0.2:80', 3);
    await sync(smallState([{ ...webWith('10.1.0.1:80'), drainSeconds: 7 }]));
    await clock.advance(6999);
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
    await clock.advance(1);
    expect(reals()).toBe('10.1.0.1:80=1');
    await sync(smallState([webWith('10.1.0.3:80')]));
    await clock.advance(59_999);
    expect(reals()).toBe('10.1.0.1:80=0 10.1.0.3:80=1');
    await clock.advance(1);
    await backend.ended();
    expect(reals()).toBe('10.1.0.3:80=1');
  });

  it('is not for UDP', async () => {
    const { sync, backend } = agent();
    await sync(smallState([dns]));
    node.setConnections('-u 10.96.0.10:53', '10.1.0.9:53', 3);
    const moved = virtualServer('dns', '10.96.0.10:53', ['10.1.0.8:53'], { protocol: 'UDP' });
    await sync(smallState([moved]));
    expect(reals()).toBe('10.1.0.8:53=1');
    await backend.ended();
  });

  it('is over when the real server is wanted again', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 3);
    await sync(smallState([webWith('10.1.0.1:80')]));
    await sync(smallState([web]));
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=1');
    await clock.advance(120_000);
    await backend.ended();
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=1');
  });

  it('is for the last real server, too, as long as rules refuse who comes', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    await sync(smallState([], ['10.96.0.1:80']));
    expect(reals()).toBe('10.1.0.1:80=0 10.1.0.2:80=0');
    await clock.advance(5000);
    expect(reals()).toBe('10.1.0.2:80=0');
    expect(bound()).toEqual(['10.96.0.1']);
    node.setConnections(atWeb, '10.1.0.2:80', 0);
    await clock.advance(5000);
    await backend.ended();
    expect(node.balancing()).toEqual([]);
  });

  it('ends with the Service', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    await sync(smallState([], ['10.96.0.1:80']));
    await sync(smallState([]));
    expect(node.balancing()).toEqual([]);
    await clock.advance(5000);
    await backend.ended();
  });

  it('begins anew after a restart, with what the kernel has beyond the graph', async () => {
    await agent().sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    const { sync, backend } = agent();
    await sync(smallState([webWith('10.1.0.1:80')]));
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
    await clock.advance(60_000);
    await backend.ended();
    expect(reals()).toBe('10.1.0.1:80=1');
  });

  it('goes on where a look at it fails', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    await sync(smallState([webWith('10.1.0.1:80')]));
    const killed = { exitCode: 255, stderr: 'Memory allocation problem\n' };
    node.fails = ({ tool }) => (tool === 'ipvsadm' ? killed : undefined);
    await clock.advance(5000);
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
    node.fails = () => undefined;
    await clock.advance(60_000);
    await backend.ended();
    expect(reals()).toBe('10.1.0.1:80=1');
  });

  it('is looked at no more often where a deadline has passed and a sync is still to succeed', async () => {
    let sleeps = 0;
    const sleep: VirtualClock['sleep'] = async (ms, until) => {
      sleeps++;
      return clock.sleep(ms, until);
    };
    const counting = { now: () => clock.now(), monotonic: () => clock.monotonic(), sleep };
    const { sync, backend } = agent({ clock: counting });
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    await sync(smallState([webWith('10.1.0.1:80')]));
    node.fails = ({ tool }) => (tool === 'ipset' ? { exitCode: 1, stderr: 'no\n' } : undefined);
    backend.invalidate();
    await expect(sync(smallState([webWith('10.1.0.1:80')]))).rejects.toThrow('ipset');
    await clock.advance(60_000);
    sleeps = 0;
    await clock.advance(60_000);
    expect(sleeps).toBe(12);
    node.fails = () => undefined;
    await sync(smallState([webWith('10.1.0.1:80')]));
    expect(reals()).toBe('10.1.0.1:80=1');
    await clock.advance(5000);
    await backend.ended();
  });

  it('is nobody’s matter any more at an address that --ipvs-exclude-cidrs names, once the Service is gone', async () => {
    const { sync, backend } = agent({ excludeCidrs: [parseCidr('10.96.0.1/32') as Cidr] });
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    await sync(smallState([webWith('10.1.0.1:80')]));
    await sync(smallState([]));
    await clock.advance(5000);
    await backend.ended();
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
  });

  it('stops with the agent, and nothing waits any more', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    await sync(smallState([webWith('10.1.0.1:80')]));
    ending.abort();
    await backend.ended();
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
  });
});

describe('sets that cannot be made', () => {
  const guarded = virtualServer('api', '10.96.0.7:80', ['10.1.0.7:80']);
  const noMemory = 'Kernel error received: Cannot allocate memory';

  it.each([
    ['the tool is killed', 'tool'],
    ['the tool is gone', 'missing'],
  ] as const)(
    'keep what is new waiting where %s; what is there follows its endpoints',
    async (_, code) => {
      const { sync } = agent();
      await sync(smallState([web]));
      const killed = new SwitchyardError(code, 'ipset was ended by SIGKILL', { retryable: true });
      node.fails = ({ tool, args }) => {
        if (tool === 'ipset' && args[0] === 'restore') throw killed;
        return undefined;
      };
      const state = smallState([webWith('10.1.0.1:80', '10.1.0.3:80'), guarded]);
      expect((await sync(state)).failure).toMatchObject({ code, message: killed.message });
      expect(node.balancing()).toEqual([`${atWeb} rr: 10.1.0.1:80=1 10.1.0.2:80=0 10.1.0.3:80=1`]);
      expect(bound()).toEqual(['10.96.0.1']);
      // also of what goes: its address would be the node's own, were it still bound
      expect((await sync(smallState([guarded]))).failure).toMatchObject({ code });
      expect([bound(), members('KUBE-IPVS-SERVED-1')]).toEqual([
        ['10.96.0.1'],
        ['10.96.0.1,tcp:80'],
      ]);
      node.fails = () => undefined;
      expect((await sync(smallState([guarded]))).failure).toBeUndefined();
      expect(node.balancing()).toEqual(['-t 10.96.0.7:80 rr: 10.1.0.7:80=1']);
      expect([bound(), members('KUBE-IPVS-SERVED-1')]).toEqual([
        ['10.96.0.7'],
        ['10.96.0.7,tcp:80'],
      ]);
    },
  );

  it('keep what is new waiting where one is of another type, and in use', async () => {
    node.sets.set('KUBE-IPVS-SERVED-1', { create: 'hash:net family inet', members: new Set() });
    node.fails = ({ tool, input }) =>
      tool === 'ipset' && input.includes('destroy KUBE-IPVS-SERVED-1\n')
        ? {
            exitCode: 1,
            stderr: 'ipset v7.17: Error in line 1: Set cannot be destroyed: it is in use\n',
          }
        : undefined;
    const { failure } = await agent().sync(smallState([web]));
    expect(failure?.message).toBe(
      'ipsets KUBE-IPVS-SERVED-1 are not ours: of another type, and in use',
    );
    expect([node.servers.size, node.device]).toEqual([0, undefined]);
  });

  it('leave a frontend as it was where it cannot be closed meanwhile', async () => {
    const second = virtualServer('second', '10.96.0.1:81', ['10.1.0.8:80']);
    const { sync } = agent();
    await sync(smallState([web]));
    node.fails = ({ tool, input }) => {
      const line = input.split('\n').findIndex((each) => /^add .*CLOSED/.test(each));
      if (tool !== 'ipset' || line < 0) return undefined;
      return { exitCode: 1, stderr: `ipset v7.17: Error in line ${line + 1}: ${noMemory}\n` };
    };
    expect((await sync(smallState([web, second]))).failure?.message).toContain(noMemory);
    // the node's own sockets would answer what is named as served and has no virtual server
    expect(members('KUBE-IPVS-SERVED-1')).toEqual(['10.96.0.1,tcp:80']);
    expect(node.balancing()).toHaveLength(1);
    node.fails = () => undefined;
    expect((await sync(smallState([web, second]))).failure).toBeUndefined();
    expect([node.balancing().length, closed()]).toEqual([2, []]);
  });

  it('hold up only whom they name where single members are refused', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    node.fails = ({ tool, input }) => {
      const line =
        tool === 'ipset' ? input.split('\n').findIndex((each) => each.includes(' 10.96.0.7,')) : -1;
      const stderr = `ipset v7.17: Error in line ${line + 1}: ${noMemory}\n`;
      return line < 0 ? undefined : { exitCode: 1, stderr };
    };
    const state = smallState([web, guarded, dns]);
    expect((await sync(state)).failure?.message).toContain(noMemory);
    expect(node.balancing().map((text) => text.split(' ')[1])).toEqual([
      '10.96.0.1:80',
      '10.96.0.10:53',
    ]);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10']);
    node.fails = () => undefined;
    expect((await sync(state)).failure).toBeUndefined();
    expect(node.balancing()).toHaveLength(3);
    expect([bound(), closed()]).toEqual([['10.96.0.1', '10.96.0.10', '10.96.0.7'], []]);
  });
});

describe('what the kernel refuses', () => {
  const bad = virtualServer('bad', '10.96.0.66:80', ['10.1.0.66:80'], { scheduler: 'nosuch' });
  const words = 'Scheduler or persistence engine not found';

  it('is named with its service port; the others are served, and it is tried again', async () => {
    let isRefused = true;
    node.refuses = (line) => (isRefused && line.endsWith('-s nosuch') ? words : undefined);
    const { sync } = agent();
    const state = smallState([bad, web, dns]);
    const { unprogrammed, refusedWrites } = await sync(state);
    const reason = `ipvsadm refused "-A -t 10.96.0.66:80 -s nosuch": ${words}`;
    expect(unprogrammed).toEqual([{ name: 'default/bad', reason }]);
    expect(refusedWrites).toEqual({ full: 1, partial: 0 });
    expect(node.balancing()).toHaveLength(2);
    // without its virtual server the node's own sockets would answer there
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10']);
    isRefused = false;
    expect((await sync(state)).unprogrammed).toEqual([]);
    expect(node.balancing()).toHaveLength(3);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10', '10.96.0.66']);
    node.takeRuns();
    await sync(state);
    expect(node.takeRuns()).toEqual([]);
  });

  it('does not hold up what comes after a line that the tool cannot read', async () => {
    const unread = { unread: 'invalid scheduler flag' };
    node.refuses = (line) => (line.endsWith('-s nosuch') ? unread : undefined);
    const { unprogrammed } = await agent().sync(smallState([bad, web, dns]));
    const reason = 'ipvsadm refused "-A -t 10.96.0.66:80 -s nosuch": invalid scheduler flag';
    expect(unprogrammed).toEqual([{ name: 'default/bad', reason }]);
    expect(node.balancing()).toHaveLength(2);
  });

  it('is mended where others had changed what was thought to be there', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    const mine = { weight: 7, connections: 0 };
    node.servers.get(atWeb)?.realServers.set('10.1.0.3:80', mine);
    const state = smallState([webWith('10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80')]);
    expect((await sync(state)).unprogrammed).toEqual([]);
    expect(node.balancing()[0]).toContain('10.1.0.3:80=1');
  });

  it('makes the sync fail where it is all of them', async () => {
    node.refuses = (line) => (line.startsWith('-A') ? words : undefined);
    await expect(agent().sync(smallState([web, dns]))).rejects.toMatchObject({
      code: 'tool',
      retryable: true,
      message: expect.stringContaining(words) as string,
      hint: expect.stringMatching(/^start the agent again/) as string,
    });
  });

  it('may be an address, which is tried again', async () => {
    let isRefused = true;
    const full = 'No buffer space available';
    node.refuses = (line) => (isRefused && line.includes('add 10.96.0.10/') ? full : undefined);
    const { sync } = agent();
    const state = smallState([web, dns]);
    expect((await sync(state)).unprogrammed.map(({ reason }) => reason)).toEqual([
      `10.96.0.10 cannot be bound to kube-ipvs0: ${full}`,
    ]);
    isRefused = false;
    expect((await sync(state)).unprogrammed).toEqual([]);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.10']);
  });

  describe('of an address that nobody asks for any more', () => {
    const [webPort, dnsPort] = [
      servicePort({ clusterIP: '10.96.0.1', endpoints: [endpoint('10.1.0.1:80')] }),
      servicePort({
        service: 'default/dns' as ServiceName,
        clusterIP: '10.96.0.10',
        endpoints: [endpoint('10.1.0.9:80')],
      }),
    ];
    const states = { both: ipvsState([webPort, dnsPort]), web: ipvsState([webPort]) };
    let isRefused = true;

    beforeEach(() => {
      isRefused = true;
      node.refuses = (line) => (isRefused && line.startsWith('address del') ? 'no' : undefined);
    });

    const bothBound = ['10.96.0.1', '10.96.0.10'];
    const stuck = {
      address: '10.96.0.10',
      reason: '10.96.0.10 cannot be removed from kube-ipvs0: no',
    };

    it('is told with the service port that had it, and is no failure: all else of it goes', async () => {
      const { sync, backend } = agent();
      await sync(states.both);
      const { failure, unprogrammed, stuckAddresses } = await sync(states.web);
      expect([failure, unprogrammed]).toEqual([undefined, []]);
      expect(stuckAddresses).toMatchObject([{ ...stuck, origin: { name: 'default/dns' } }]);
      expect([bound(), node.balancing().length]).toEqual([bothBound, 1]);
      // The rules refuse what comes for an address that is bound and not served.
      expect([members('KUBE-IPVS-SERVED-1'), boundMembers(), closed()]).toEqual([
        ['10.96.0.1,tcp:80'],
        bothBound,
        [],
      ]);
      expect(await backend.audit(signal)).toBeUndefined();
    });

    it('costs other syncs nothing, is tried again after five minutes, and is over when it goes', async () => {
      const { sync, backend } = agent();
      await sync(states.both);
      await sync(states.web);
      node.takeRuns();
      await sync(states.web);
      expect(node.takeRuns()).toEqual([]);
      await clock.advance(300_000);
      expect((await sync(states.web)).stuckAddresses).toMatchObject([
        { ...stuck, origin: { name: 'default/dns' } },
      ]);
      isRefused = false;
      await clock.advance(300_000);
      expect(await sync(states.web)).toMatchObject({ failure: undefined, stuckAddresses: [] });
      expect([bound(), boundMembers(), closed()]).toEqual([['10.96.0.1'], ['10.96.0.1'], []]);
      expect(await backend.audit(signal)).toBeUndefined();
    });

    it('ends where a Service asks for it again', async () => {
      const { sync } = agent();
      await sync(states.both);
      await sync(states.web);
      expect((await sync(states.both)).stuckAddresses).toEqual([]);
      expect([bound(), node.balancing().length]).toEqual([bothBound, 2]);
      await clock.advance(300_000);
      isRefused = false;
      await sync(states.web);
      expect([bound(), boundMembers()]).toEqual([['10.96.0.1'], ['10.96.0.1']]);
    });

    it('opens nothing meanwhile that members lead to and that has no virtual server', async () => {
      await agent().sync(states.both);
      // Killed in the midst of it.
      node.servers.delete(atWeb);
      const escapes: string[] = [];
      let isSeen = false;
      node.onStep = (tool, line) => {
        isSeen ||= closed().includes('10.96.0.1,tcp:80');
        const isLetBy = members('KUBE-IPVS-SERVED-1').includes('10.96.0.1,tcp:80');
        const isClosed = closed().includes('10.96.0.1,tcp:80');
        if (isSeen && isLetBy && !isClosed) escapes.push(`${tool} ${line}`);
      };
      await agent().sync(ipvsState([{ ...webPort, endpoints: servicePort().endpoints }]));
      expect([isSeen, escapes]).toEqual([true, []]);
      expect(closed()).toEqual([]);
    });

    it('is known to the next agent, though not whose it was', async () => {
      await agent().sync(states.both);
      const { failure, stuckAddresses } = await agent().sync(states.web);
      expect([failure, stuckAddresses]).toEqual([undefined, [{ ...stuck, origin: undefined }]]);
      expect([node.balancing().length, boundMembers()]).toEqual([1, bothBound]);
    });
  });

  it('is everything where there is no ipvs', async () => {
    const stderr = "Can't initialize ipvs: Protocol not available\n";
    node.fails = ({ tool }) => (tool === 'ipvsadm' ? { exitCode: 2, stderr } : undefined);
    await expect(agent().sync(smallState([web]))).rejects.toMatchObject({ code: 'missing' });
  });
});

describe('a table of the kernel that leaves servers out, as beside other network namespaces', () => {
  const both = smallState([web, dns]);

  it('is no reason for a repair: the tool is asked what is there', async () => {
    const { backend, sync } = agent();
    await sync(both);
    node.leftOut.add(atWeb);
    node.takeRuns();
    expect(await backend.audit(signal)).toBeUndefined();
    expect(node.takeRuns()).toContain('ipvsadm --list --numeric');
  });

  it('does not hide from the audit what is really gone', async () => {
    const { backend, sync } = agent();
    await sync(both);
    node.leftOut.add(atWeb);
    await backend.audit(signal);
    node.servers.delete(atWeb);
    expect(await backend.audit(signal)).toContain('TCP/10.96.0.1:80');
  });

  it('takes no address off after a restart: what exists already is read from the tool', async () => {
    await agent().sync(both);
    const before = snapshot();
    node.leftOut.add(atWeb);
    const { sync } = agent();
    expect(await sync(smallState([web, dns]))).toMatchObject({ unprogrammed: [] });
    expect(snapshot()).toEqual(before);
  });

  it('leaves no virtual server of an earlier run behind', async () => {
    await agent().sync(both);
    node.leftOut.add(atWeb);
    await agent().sync(smallState([dns]));
    expect([...node.servers.keys()]).not.toContain(atWeb);
  });

  it('ends no connection that drains', async () => {
    const { sync } = agent();
    await sync(smallState([web]));
    node.setConnections(atWeb, '10.1.0.2:80', 1);
    await sync(smallState([webWith('10.1.0.1:80')]));
    node.leftOut.add(atWeb);
    await clock.advance(5000);
    expect(reals()).toBe('10.1.0.1:80=1 10.1.0.2:80=0');
  });
});

describe('the audit of the ipvs mode', () => {
  const damages: readonly (readonly [string, () => unknown, RegExp])[] = [
    ['a virtual server', () => node.servers.delete(atWeb), /TCP\/10\.96\.0\.1:80 is gone/],
    [
      'a real server',
      () => node.servers.get(atWeb)?.realServers.delete('10.1.0.2:80'),
      /real server 10\.1\.0\.2:80 .* is gone/,
    ],
    ['a weight', () => Object.assign(secondReal(), { weight: 0 }), /has weight 0, expected 1/],
    [
      'a scheduler',
      () => Object.assign(node.servers.get(atWeb) ?? {}, { scheduler: 'wlc' }),
      /is wlc, not persistent/,
    ],
    ['an address', () => node.device?.delete('10.96.0.1'), /10\.96\.0\.1 is gone from kube-ipvs0/],
    ['the link', () => (node.device = undefined), /kube-ipvs0 is gone/],
    ['a set', () => node.sets.delete('KUBE-IPVS-SERVED-1'), /KUBE-IPVS-SERVED-1 is gone/],
    [
      'members',
      () => node.sets.get('KUBE-IPVS-SERVED-1')?.members.clear(),
      /has 0 members, expected 2/,
    ],
    ['rules', () => node.tables.get('nat')?.set('KUBE-SERVICES', []), /KUBE-SERVICES/],
  ];

  it.each(damages)(
    'tells that foreign hands took %s, and the next sync mends it',
    async (_, damage, reason) => {
      const { sync, backend } = agent();
      const state = smallState([web, dns]);
      await sync(state);
      expect(await backend.audit(signal)).toBeUndefined();
      const before = snapshot();
      damage();
      expect(await backend.audit(signal)).toMatch(reason);
      backend.invalidate();
      expect(await sync(state)).toMatchObject({ full: true });
      expect(snapshot()).toEqual(before);
      expect(await backend.audit(signal)).toBeUndefined();
    },
  );

  it('names a virtual server that somebody else has put on an address of ours', async () => {
    const { sync, backend } = agent();
    await sync(smallState([web]));
    const theirs = { scheduler: 'rr', persistent: undefined, realServers: new Map() };
    node.servers.set('-t 10.9.9.9:80', theirs);
    expect(await backend.audit(signal)).toBeUndefined();
    node.servers.set('-t 10.96.0.1:81', theirs);
    expect(await backend.audit(signal)).toMatch(
      /second writer: virtual server TCP\/10\.96\.0\.1:81/,
    );
  });

  it('looks at each member of a set once an hour', async () => {
    const { sync, backend } = agent();
    const state = smallState([web, dns]);
    await sync(state);
    const there = node.sets.get('KUBE-IPVS-SERVED-1')?.members;
    there?.delete('10.96.0.1,tcp:80');
    there?.add('10.96.0.1,tcp:81');
    await clock.advance(hourMs - 1);
    expect(await backend.audit(signal)).toBeUndefined();
    await clock.advance(1);
    expect(await backend.audit(signal)).toBe(
      '10.96.0.1,tcp:81 in ipset KUBE-IPVS-SERVED-1 is not ours',
    );
    backend.invalidate();
    await sync(state);
    expect(members('KUBE-IPVS-SERVED-1').toSorted()).toEqual([
      '10.96.0.1,tcp:80',
      '10.96.0.10,udp:53',
    ]);
    expect(await backend.audit(signal)).toBeUndefined();
  });

  it('writes what the kernel’s table does not show once an hour, in place', async () => {
    const kept = virtualServer('kept', '10.96.0.2:80', ['10.1.0.1:80'], { persistentSeconds: 600 });
    const hashed = virtualServer('hash', '10.96.0.3:80', ['10.1.0.1:80'], {
      scheduler: 'sh',
      schedulerFlags: ['sh-port'],
    });
    const { sync, backend } = agent();
    await sync(smallState([web, kept, hashed]));
    Object.assign(node.servers.get('-t 10.96.0.2:80') ?? {}, { persistent: 60 });
    node.takeRuns();
    await clock.advance(hourMs - 1);
    expect(await backend.audit(signal)).toBeUndefined();
    expect(node.takeLines()).toEqual([]);
    await clock.advance(1);
    expect(await backend.audit(signal)).toBeUndefined();
    expect(node.takeLines()).toEqual([
      '-E -t 10.96.0.2:80 -s rr -p 600',
      '-E -t 10.96.0.3:80 -s sh -b sh-port',
    ]);
    expect(node.servers.get('-t 10.96.0.2:80')).toMatchObject({ persistent: 600 });
    await clock.advance(hourMs - 1);
    expect(await backend.audit(signal)).toBeUndefined();
    await sync(smallState([web, kept, hashed]));
    expect(node.takeLines()).toEqual([]);
  });

  it('runs ipvsadm not otherwise, and is not held before anything is written', async () => {
    const { sync, backend } = agent();
    expect(await backend.audit(signal)).toBeUndefined();
    expect(node.takeRuns()).toEqual([]);
    await sync(smallState([web, dns]));
    node.takeRuns();
    await backend.audit(signal);
    expect(node.takeRuns().filter((run) => run.startsWith('ipvsadm'))).toEqual([]);
  });
});
