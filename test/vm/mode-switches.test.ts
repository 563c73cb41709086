/* oxlint-disable vitest/valid-title, vitest/no-standalone-expect -- what holds of every switch is declared once */
// Another mode takes over on a live node: which connections go on, who answers meanwhile, and what is left. The table
// of docs/mode-switches.md names these tests.
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import type { Difference } from '../../src/cli/diff/differences.ts';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { MountedConfig } from '../support/mounted-config.ts';
import { dumpNode } from '../support/node-dump.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';
import type { Actor, LabConnection } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { kernelView } from './kernel-view.ts';
import { leaveUpstreamIpvs, upstreamSettings } from './upstream-ipvs-state.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
const web = { to: '10.96.0.10', port: 80 };
const nodePort = { to: lab4.node, port: 30_010 };
const sticky = { to: '10.96.0.11', port: 80 };

/** What is open all the while, by the names of the table. */
const conversations: Readonly<Record<string, readonly [Actor, Question]>> = {
  'TCP to a cluster IP from a pod': ['pod-c', web],
  'UDP to a cluster IP from a pod': ['pod-c', { ...web, proto: 'udp' }],
  'TCP to a cluster IP from the node': ['node', web],
  'UDP to a cluster IP from the node': ['node', { ...web, proto: 'udp' }],
  'TCP to a node port from outside': ['client', nodePort],
  'UDP to a node port from outside': ['client', { ...nodePort, proto: 'udp' }],
  'TCP over IPv6 to a cluster IP from outside': ['client', { to: 'fd00:10:96::10', port: 80 }],
};

type Held = ReadonlyMap<string, LabConnection>;
/** What it answers now, which is to be what it answered first; and if not, what the kernel knows of it. */
interface Conversation {
  readonly now: Answer;
  readonly first: Answer;
  readonly view: string | undefined;
}
type Counts = Readonly<Record<string, number>>;
type Mode = 'iptables' | 'ipvs';

let lab: NodeLab;
let agent: AgentProcess | undefined;
/** What the agent had said before it was made to change. */
let heard = 0;
let file: MountedConfig;
let answers: Readonly<Record<string, Conversation>>;
/** Those that have been open since before the last switch. */
let oldest: Held;
let requests: Counts;
let idle: Counts;
let before: object;
let isOver = false;

/** Everything that a service proxy may change on the node. */
async function node(): Promise<object> {
  return {
    ...(await dumpNode(lab)),
    servers: await lab.onNode('ipvsadm', '--save', '-n'),
    links: await lab.onNode('ip', '-br', 'address'),
  };
}

/** Names of chains and sets, and of virtual servers the weights: what tells one mode from another. */
async function marks(): Promise<string | undefined> {
  const tools = [
    ['iptables-save'],
    ['ip6tables-save'],
    ['ipset', 'list', '-name'],
    ['ipvsadm', '--save', '-n'],
  ];
  const texts: string[] = [];
  try {
    for (const [tool = '', ...args] of tools) texts.push(await lab.onNode(tool, ...args));
  } catch {
    return undefined; // the agent has changed it meanwhile
  }
  return texts.join('\n');
}

/** What a file says; the sync period is long, so that nobody but the tests looks at what the tests change. */
function configuration(mode: Mode): string {
  return [
    'apiVersion: kubeproxy.config.k8s.io/v1alpha1',
    'kind: KubeProxyConfiguration',
    `mode: ${mode}`,
    'oomScoreAdj: 0',
    'conntrack: {maxPerCore: 0}',
    'ipvs: {syncPeriod: 1h}',
    '',
  ].join('\n');
}

/** Starts an agent in place of the one that runs. */
async function start(mode: Mode, ...flags: readonly string[]): Promise<void> {
  await agent?.stop();
  await file.publish(configuration(mode));
  heard = 0;
  agent = lab.startAgent([`--config=${file.path}`, `--state-file=${lab.stateFile}`, ...flags]);
}

/** Changes the configuration file of the agent that runs. */
async function change(mode: Mode): Promise<void> {
  heard = agent?.log.length ?? 0;
  await file.publish(configuration(mode));
}

/** Until the agent has said so, by default for both families: to look at the node all the while would slow it down. */
async function said(words: string, times = 2): Promise<void> {
  const count = async (): Promise<number> => (agent?.log.slice(heard).split(words).length ?? 1) - 1;
  await eventually(count, (seen) => seen === times, 15_000).catch((cause: unknown) => {
    throw new Error(`the agent has not said ${words}, but ${agent?.log}`, { cause });
  });
}

/** Whether both families are as the mode leaves them, with the removal that comes last. */
function isIn(mode: Mode, seen: string): boolean {
  if (mode === 'ipvs') {
    const isThere = seen.includes('KUBE-IPVS-SERVED-1') && seen.includes('KUBE-6-IPVS-SERVED-1');
    return (
      isThere && !/KUBE-(EXTERNAL-SERVICES|LOAD-BALANCER|CLUSTER-IP|6-CLUSTER-IP|AFF-)/.test(seen)
    );
  }
  if (!seen.includes('KUBE-EXTERNAL-SERVICES')) return false;
  const families = [...seen.matchAll(/-A KUBE-IPVS-FILTER -p (?:ipv6-)?icmp/g)].length;
  return families === 2 && !/-m -w [1-9]|:KUBE-LOAD-BALANCER/.test(seen);
}

async function hold(): Promise<Held> {
  const held = Object.entries(conversations).map(
    async ([name, [actor, question]]) => [name, await lab.open(actor, question)] as const,
  );
  return new Map(await Promise.all(held));
}

async function askAgain(connection: LabConnection): Promise<Conversation> {
  const { first } = connection;
  const now = await connection.again(20_000);
  const view = isDeepStrictEqual(now, first) ? undefined : await kernelView(lab, connection);
  return { now, first, view };
}

/** Switches to a mode while requests go on, and asks again over all connections that were open before. */
async function switchTo(
  mode: Mode,
  go: () => Promise<void> = async () => start(mode),
): Promise<void> {
  const fresh = await hold();
  await go();
  // From now on it may change what packets meet.
  await said('"started"', 1);
  const asked: readonly Question[] = [web, { ...web, proto: 'udp' }, nodePort];
  const streams = (['client', 'pod-c', 'node'] as const).map(
    (actor) => new RequestStream(lab, actor, asked, 1, 400),
  );
  // The node serves on all of its addresses: who is sent to none of a Service's pods may end there.
  const unserved = [
    { to: web.to, port: 8099, timeoutMs: 200 },
    { to: '10.96.0.12', port: 80, timeoutMs: 200 },
  ];
  const others = new RequestStream(lab, 'pod-b', unserved, 1, 400);
  try {
    await said('"first rules written"');
    await eventually(marks, (seen) => seen !== undefined && isIn(mode, seen), 8000);
  } catch (error) {
    throw new Error(`${mode} mode is not in: ${agent?.log}`, { cause: error });
  } finally {
    const counts = await Promise.all(streams.map(async (stream) => stream.stop()));
    requests = Object.fromEntries(counts.flatMap((each) => Object.entries(each)));
    idle = await others.stop();
  }
  const again = [...fresh].map(
    async ([name, connection]) => [name, await askAgain(connection)] as const,
  );
  answers = Object.fromEntries(await Promise.all(again));
  await Promise.all([...fresh.values()].map(async (connection) => connection.close()));
}

/** Until it is over, or the connection is; the last answer. */
async function talk(
  name: string,
  connection: LabConnection,
): Promise<{ readonly name: string; readonly answer: Answer }> {
  for (let asked = 0; ;) {
    const answer = await connection.again(name.startsWith('UDP') ? 2000 : 20_000);
    // A datagram that was on its way when its real server went is lost; the next one tells.
    const isLost = answer === 'timeout' && asked < 3;
    if (answer === 'closed' || (isOver && !isLost)) return { name, answer };
    if (isOver) asked++;
    // Often enough for whoever is told for ten seconds; all of them ask all the while.
    await delay(1000);
  }
}

/** A UDP socket of the node that has the address of the Service for its own gets an error when that is gone. */
function isTold(name: string, answer: Answer): boolean {
  return (
    typeof answer !== 'string' || (name.startsWith('TCP') ? /^closed$/ : /^E[A-Z]+$/).test(answer)
  );
}

/** Iptables mode that does not wait for connections of ipvs: who was not told, and what is left. */
async function giveUp(): Promise<readonly string[]> {
  isOver = false;
  const talks = Promise.all([...oldest].map(async ([name, connection]) => talk(name, connection)));
  // Where what follows fails, they end with the lab.
  talks.catch(() => {});
  await start('iptables', '--ipvs-drain-timeout=0s');
  await said('nothing of ipvs mode is left');
  await eventually(
    marks,
    (seen) => seen !== undefined && !/KUBE-(6-)?(IPVS-|CLUSTER)|10\.96\.0\.10:80/.test(seen),
    8000,
  );
  isOver = true;
  const ends = await talks;
  const links = await lab.onNode('ip', '-br', 'link');
  return [
    ...ends.filter(({ name, answer }) => !isTold(name, answer)).map((end) => JSON.stringify(end)),
    ...(links.includes('kube-ipvs0') ? ['kube-ipvs0'] : []),
  ];
}

async function cleanUp(): Promise<void> {
  await agent?.stop();
  agent = undefined;
  const run = await lab.command('cleanup', `--state-file=${lab.stateFile}`);
  expect(run).toMatchObject({ status: 0, stderr: '' });
}

function adminSocket(): string {
  return join(lab.folder, 'run', 'admin.sock');
}

/** What `switchyard diff` finds: `ipv4 | missing | sets | OBJECT | WANTED | FOUND`. */
async function differences(): Promise<readonly string[]> {
  const run = await lab.command('diff', '--output=json', `--admin-socket=${adminSocket()}`);
  expect(run.stderr).toBe('');
  const { families } = JSON.parse(run.stdout) as {
    families: { family: string; differences: Difference[] }[];
  };
  return families.flatMap(({ family, differences: list }) =>
    list.map(({ kind, part, object, wanted, found }) =>
      [family, kind, part, object ?? '-', wanted ?? '-', found ?? '-'].join(' | '),
    ),
  );
}

async function leaveUpstream(): Promise<void> {
  await leaveUpstreamIpvs(lab, [
    { host: 10, pods: ['pod-a', 'pod-b'], nodePort: 30_010 },
    { host: 11, pods: ['pod-a', 'pod-b', 'pod-c'] },
    { host: 12, pods: [] },
  ]);
  oldest = await hold();
}

/** What became of one that was open and answered before. */
function conversation(key: string): Conversation {
  const found = answers[key];
  if (typeof found?.first === 'object') return found;
  throw new Error(`${key} was not answered before: ${found?.first}`);
}

/** What holds of each switch; `go` makes it. */
function direction(name: string, go: () => Promise<void>): void {
  describe(name, () => {
    beforeAll(go);

    test('TCP to a cluster IP from a pod goes on', () => {
      const { now, first, view } = conversation('TCP to a cluster IP from a pod');
      expect(now, view).toEqual(first);
    });
    test('UDP to a cluster IP from a pod goes on', () => {
      const { now, first, view } = conversation('UDP to a cluster IP from a pod');
      expect(now, view).toEqual(first);
    });
    test('TCP to a cluster IP from the node goes on', () => {
      const { now, first, view } = conversation('TCP to a cluster IP from the node');
      expect(now, view).toEqual(first);
    });
    test('UDP to a cluster IP from the node goes on', () => {
      const { now, first, view } = conversation('UDP to a cluster IP from the node');
      expect(now, view).toEqual(first);
    });
    test('TCP to a node port from outside goes on', () => {
      const { now, first, view } = conversation('TCP to a node port from outside');
      expect(now, view).toEqual(first);
    });
    test('UDP to a node port from outside goes on', () => {
      const { now, first, view } = conversation('UDP to a node port from outside');
      expect(now, view).toEqual(first);
    });
    test('TCP over IPv6 to a cluster IP from outside goes on', () => {
      const { now, first, view } = conversation('TCP over IPv6 to a cluster IP from outside');
      expect(now, view).toEqual(first);
    });

    test('a TCP connection goes on over one switch and the next', async () => {
      for (const key of Object.keys(conversations).filter((each) => each.startsWith('TCP'))) {
        const connection = oldest.get(key);
        if (connection === undefined) throw new Error(`${key} was not opened`);
        const { now, first, view } = await askAgain(connection);
        expect({ key, answer: now }, view).toEqual({ key, answer: first });
      }
    });

    test('new connections are answered throughout, by pods alone', () => {
      expect(Object.keys(requests).toSorted()).toEqual(['pod-a', 'pod-b']);
      expect(Object.keys(idle)).not.toContain('the node itself');
    });

    test('the node’s own connections do not come from a service’s address', async () => {
      const notOfServices = expect.not.stringMatching(/^10\.96\./) as string;
      const answer = await lab.ask('node', web);
      expect(answer).toMatchObject({ sourceSeen: notOfServices });
    });

    test('an address that is bound answers at no port but those of its services', async () => {
      const unused = { to: web.to, port: 8099 };
      const asked = [await lab.ask('client', unused), await lab.ask('node', unused)];
      expect(asked).toEqual(['refused', 'refused']);
    });

    test('ClientIP affinity begins anew, and holds', async () => {
      expect(Object.values(await lab.tally('client', sticky, 5))).toEqual([5]);
    });
  });
}

describe.skipIf(!inGuest)('mode switches (needs the guest of npm run test:vm)', () => {
  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    file = new MountedConfig(join(lab.folder, 'config'));
    await file.make(configuration('iptables'));
    const exposed = { type: 'NodePort', nodePort: 30_010 } as const;
    await lab.write('node', nodeObject());
    await lab.write(
      'web',
      service('web', { host: 10, ...exposed }),
      ...slices('web', ['pod-a', 'pod-b']),
    );
    await lab.write(
      'sticky',
      service('sticky', { host: 11, affinitySeconds: 300 }),
      ...slices('sticky', ['pod-a', 'pod-b', 'pod-c']),
    );
    await lab.write('empty', service('empty', { host: 12 }), ...slices('empty', []));
    for (const port of [80, 8099])
      await lab.serve('node', { proto: 'tcp', address: '0.0.0.0', port, name: 'the node itself' });
    // Everything takes longer in the guest: by default, a UDP flow that was silent during a switch would be forgotten.
    await lab.onNode('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
    // of others
    await lab.onNode('sysctl', '-qw', ...upstreamSettings);
    await lab.onNode('ipvsadm', '-A', '-t', '10.9.9.9:80', '-s', 'wlc');
    await lab.onNode('ipset', 'create', 'mine', 'hash:ip');
    before = await node();
  });

  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => {
      process.stderr.write(`the agent said:\n${agent?.log.slice(-4000) ?? 'nothing'}\n`);
    });
  });

  afterAll(async () => {
    await agent?.stop();
    await lab?.close();
  });

  direction('from kube-proxy’s ipvs mode to our iptables mode', async () => {
    await leaveUpstream();
    await switchTo('iptables');
  });

  test('an agent that may not wait gives connections of ipvs up, tells whoever speaks, and leaves nothing of ipvs', async () => {
    expect(await giveUp()).toEqual([]);
  });

  direction('from iptables to ipvs', async () => {
    oldest = await hold();
    await switchTo('ipvs', async () => start('ipvs', `--admin-socket=${adminSocket()}`));
  });

  direction('from ipvs to iptables, in one process', async () =>
    switchTo('iptables', async () => change('iptables')),
  );

  // Its virtual servers are there still, with weight 0, and connections on them.
  direction('from iptables back to ipvs in the midst of a drain, in one process', async () =>
    switchTo('ipvs', async () => change('ipvs')),
  );

  test('an agent that has taken over finds nothing different, beside a virtual server of somebody else', async () => {
    expect(await differences()).toEqual([]);
  });

  test('what somebody takes, puts in or changes is named by switchyard diff', async () => {
    await lab.onNode('ipvsadm', '-d', '-t', '10.96.0.10:80', '-r', '10.244.0.5:8080');
    await lab.onNode('ipvsadm', '-A', '-t', '10.96.0.10:81', '-s', 'rr');
    await lab.onNode('ip', 'address', 'del', 'fd00:10:96::10/128', 'dev', 'kube-ipvs0');
    await lab.onNode('ip', 'address', 'add', '10.96.0.99/24', 'dev', 'kube-ipvs0');
    await lab.onNode('ipset', 'add', 'KUBE-6-IPVS-SERVED-1', 'fd00:10:96::10,tcp:99');
    expect(await differences()).toEqual([
      expect.stringMatching(
        /^ipv4 \| missing \| virtual servers \| default\/web:tcp \| -a -t 10\.96\.0\.10:80 -r 10\.244\.0\.5:8080 -m -w 1/,
      ),
      'ipv4 | unexpected | virtual servers | - | - | virtual server TCP/10.96.0.10:81',
      'ipv4 | unexpected | addresses | - | - | address add 10.96.0.99/24 dev kube-ipvs0',
      'ipv6 | unexpected | sets | - | - | add KUBE-6-IPVS-SERVED-1 fd00:10:96::10,tcp:99',
      'ipv6 | missing | addresses | default/web:tcp | address add fd00:10:96::10/128 dev kube-ipvs0 | -',
    ]);
  });

  direction('from kube-proxy’s ipvs mode to ours', async () => {
    await cleanUp();
    expect(await node()).toEqual(before);
    await leaveUpstream();
    await switchTo('ipvs');
  });

  test('nor does it wait where ipvs mode was ours', async () => {
    oldest = await hold();
    expect(await giveUp()).toEqual([]);
  });

  test('the clean-up leaves nothing over of any mode, and what others made', async () => {
    await cleanUp();
    expect(await node()).toEqual(before);
  });
});
