// The ipvs backend against the real kernel: what the unit tests' fake node is believed to do, this one does.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { iptablesTools } from '../../src/backends/iptables/variant.ts';
import { IpvsBackend } from '../../src/backends/ipvs/backend.ts';
import type { IpvsState } from '../../src/backends/ipvs/state.ts';
import { systemClock } from '../../src/clock.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import type { ToolRunner } from '../../src/host/run-tool.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { emptyDelta, emptyGraph } from '../support/iptables-states.ts';
import { smallState, virtualServer } from '../support/small-ipvs-states.ts';

const { signal } = new AbortController();
const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
const web = virtualServer('web', '10.96.0.1:80', ['10.1.0.2:80', '10.1.0.2:81=3']);
const dns = virtualServer('dns', '10.96.0.10:53', ['10.1.0.2:53'], { protocol: 'UDP' });
const sctp = virtualServer('tele', '10.96.0.11:99', ['10.1.0.2:99'], { protocol: 'SCTP' });
const sticky = virtualServer('sticky', '10.96.0.12:80', ['10.1.0.2:80'], {
  scheduler: 'mh',
  schedulerFlags: ['mh-fallback', 'mh-port'],
  persistentSeconds: 30,
});
const six = virtualServer('six', '[fd00:96::1]:80', ['[fd00:1::2]:80']);

/** A network namespace that lives as long as a child of ours. */
class Namespace {
  readonly #holder: ChildProcess;
  readonly #runs: string[] = [];

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async open(): Promise<Namespace> {
    const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const ours = await readlink('/proc/self/ns/net');
    await until(async () => (await readlink(`/proc/${holder.pid}/ns/net`)) !== ours);
    return new Namespace(holder);
  }

  get pid(): number {
    return this.#holder.pid ?? 0;
  }

  readonly tools: ToolRunner = {
    run: async (tool, args, options) => {
      this.#runs.push(tool);
      return this.#run([tool, ...args], options);
    },
  };

  takeRuns(): readonly string[] {
    return this.#runs.splice(0);
  }

  async shell(command: string): Promise<string> {
    const { stdout } = await this.#run(['sh', '-c', command], { timeoutMs: 60_000, signal });
    return stdout;
  }

  /** A program that runs until the namespace is closed. */
  spawn(script: string): ChildProcess {
    return spawn('nsenter', [...this.#inside(), process.execPath, '-e', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  async close(): Promise<void> {
    const ended = once(this.#holder, 'exit');
    this.#holder.stdin?.end();
    await ended;
  }

  #inside(): readonly string[] {
    return [`--net=/proc/${this.pid}/ns/net`, '--'];
  }

  async #run(command: readonly string[], options: Parameters<ToolRunner['run']>[2]) {
    return systemTools.run('nsenter', [...this.#inside(), ...command], options);
  }
}

async function until(isSo: () => Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadlineMs = Date.now() + limitMs;
  while (!(await isSo())) {
    if (Date.now() > deadlineMs) throw new Error(`not so within ${limitMs} ms: ${isSo.toString()}`);
    await systemClock.sleep(50);
  }
}

describe.skipIf(!inGuest)('the ipvs backend (needs the guest of npm run test:vm)', () => {
  let node: Namespace;
  let ending: AbortController;
  let children: ChildProcess[];

  beforeEach(async () => {
    node = await Namespace.open();
    ending = new AbortController();
    children = [];
    await node.shell('ip link set lo up');
  });

  afterEach(async () => {
    ending.abort();
    for (const child of children) child.kill('SIGKILL');
    await node.close();
  });

  const table = () => node.shell('cat /proc/net/ip_vs');

  async function agent(family: 'ipv4' | 'ipv6' = 'ipv4', drainSeconds = 60) {
    const { tools } = node;
    const iptables = await iptablesTools(tools, 'nft', family, signal);
    if (typeof iptables === 'string') throw new Error(iptables);
    const wanted = { state: smallState([]) };
    const backend = new IpvsBackend({
      family,
      tools,
      iptables,
      log: silentLog,
      lockPaths: { lockFile: '/run/xtables.lock', proc: '/proc' },
      lowering: { lower: () => wanted.state },
      clock: systemClock,
      instanceId: 'vm',
      excludeCidrs: [],
      drainSeconds,
      lifetime: ending.signal,
      readTable: table,
    });
    node.takeRuns();
    const sync = async (state: IpvsState) => {
      wanted.state = state;
      return backend.sync(emptyGraph, emptyDelta, signal);
    };
    return { backend, sync };
  }

  it('puts all protocols, flags and times in, finds them right, and then runs no tool', async () => {
    const { backend, sync } = await agent();
    const state = smallState([web, dns, sctp, sticky]);
    expect((await sync(state)).unprogrammed).toEqual([]);
    expect((await node.shell('ipvsadm --save -n')).trim().split('\n').toSorted()).toEqual([
      '-A --sctp-service 10.96.0.11:99 -s rr',
      '-A -t 10.96.0.12:80 -s mh -p 30 -b mh-fallback,mh-port',
      '-A -t 10.96.0.1:80 -s rr',
      '-A -u 10.96.0.10:53 -s rr',
      '-a --sctp-service 10.96.0.11:99 -r 10.1.0.2:99 -m -w 1',
      '-a -t 10.96.0.12:80 -r 10.1.0.2:80 -m -w 1',
      '-a -t 10.96.0.1:80 -r 10.1.0.2:80 -m -w 1',
      '-a -t 10.96.0.1:80 -r 10.1.0.2:81 -m -w 3',
      '-a -u 10.96.0.10:53 -r 10.1.0.2:53 -m -w 1',
    ]);
    expect(await backend.audit(signal)).toBeUndefined();
    node.takeRuns();
    await sync(smallState([web, dns, sctp, sticky]));
    expect(node.takeRuns()).toEqual([]);
  });

  it('keeps the families apart, on one link', async () => {
    const v4 = await agent('ipv4');
    const v6 = await agent('ipv6');
    await Promise.all([v4.sync(smallState([web])), v6.sync(smallState([six]))]);
    for (const { backend } of [v4, v6]) expect(await backend.audit(signal)).toBeUndefined();
    expect(await node.shell('ip -o address show dev kube-ipvs0')).not.toContain('fe80');
    await v4.sync(smallState([]));
    expect(await v6.backend.audit(signal)).toBeUndefined();
    expect(await node.shell('ipvsadm --save -n')).toBe(
      '-A -t [fd00:96::1]:80 -s rr\n-a -t [fd00:96::1]:80 -r [fd00:1::2]:80 -m -w 1\n',
    );
  });

  it('names what the kernel refuses, and serves the rest', async () => {
    const bad = virtualServer('bad', '10.96.0.66:80', ['10.1.0.2:80'], { scheduler: 'nosuch' });
    const unread = virtualServer('odd', '10.96.0.67:80', ['10.1.0.2:80'], {
      schedulerFlags: ['nosuch'],
    });
    const { sync } = await agent();
    const { unprogrammed } = await sync(smallState([bad, web, unread, dns]));
    expect(unprogrammed.map(({ name }) => name)).toEqual(['default/bad', 'default/odd']);
    expect(unprogrammed[0]?.reason).toMatch(/Scheduler or persistence engine not found/);
    const saved = await node.shell('ipvsadm --save -n');
    expect(saved.match(/^-A \S+ \S+/gm)?.toSorted()).toEqual([
      '-A -t 10.96.0.1:80',
      '-A -u 10.96.0.10:53',
    ]);
  });

  it('takes over after a restart without touching what is right; prefixes that somebody else has bound go', async () => {
    await (await agent()).sync(smallState([web, dns]));
    await node.shell('ipvsadm -e -t 10.96.0.1:80 -r 10.1.0.2:81 -m -w 0');
    await node.shell('for each in 1 77; do ip address add 10.96.0.$each/24 dev kube-ipvs0; done');
    const before = await table();
    await (await agent()).sync(smallState([web, dns]));
    const shown = await node.shell('ip -o -4 address show dev kube-ipvs0');
    expect(shown.match(/10\.96\.[0-9./]+/g)?.toSorted()).toEqual(['10.96.0.1/32', '10.96.0.10/32']);
    expect(await table()).toBe(before.replace(/(0051 +Masq +)0/, '$13'));
  });

  it('keeps the endpoint of a client beyond its time-out, while it remembers a connection', async () => {
    const pods = ['10.1.0.2:80', '10.1.0.3:80', '10.1.0.4:80'];
    const brief = virtualServer('brief', '10.96.0.1:80', pods, { persistentSeconds: 1 });
    await (await agent()).sync(smallState([brief]));
    await node.shell('ip route add 10.1.0.0/24 dev lo');
    const connect = "require('net').connect(80, '10.96.0.1').on('error', () => {})";
    children.push(node.spawn(connect));
    /** Of the client: its endpoint, in hexadecimal, and the seconds for which that is remembered. */
    const remembered = async () => {
      const lines = (await node.shell('cat /proc/net/ip_vs_conn')).split('\n');
      const template = lines.map((line) => line.split(/\s+/)).find(([, , port]) => port === '0000');
      return { endpoint: template?.[5], seconds: Number(template?.[8] ?? 0) };
    };
    await until(async () => (await remembered()).endpoint !== undefined);
    const { endpoint } = await remembered();
    // When its time-out is over, the kernel gives it another minute.
    await until(async () => (await remembered()).seconds > 1);
    expect((await remembered()).endpoint).toBe(endpoint);
  });

  it('drains a connection to its end: it goes on, and then the real server is gone', async () => {
    const pod = await Namespace.open();
    try {
      await node.shell(
        `ip link add pod type veth peer name eth0 netns ${pod.pid}; ip address add 10.1.0.1/24 dev pod; ip link set pod up`,
      );
      await pod.shell(
        'ip address add 10.1.0.2/24 dev eth0; ip link set lo up; ip link set eth0 up; ip route add default via 10.1.0.1',
      );
      const echo = pod.spawn(
        "require('net').createServer((s) => s.pipe(s).on('error', () => {})).listen(80, () => console.log('up'))",
      );
      children.push(echo);
      await once(echo.stdout ?? echo, 'data');
      const { backend, sync } = await agent();
      await sync(smallState([{ ...web, realServers: new Map([...web.realServers].slice(0, 1)) }]));
      const client = node.spawn(
        "const s = require('net').connect(80, '10.96.0.1'); s.on('data', (d) => process.stdout.write(d)); process.stdin.on('data', (d) => s.write(d)).on('end', () => s.resetAndDestroy())",
      );
      children.push(client);
      const say = async (word: string): Promise<string> => {
        client.stdin?.write(word);
        const [answer] = (await once(client.stdout ?? client, 'data')) as [Buffer];
        return answer.toString();
      };
      expect(await say('before')).toBe('before');
      await sync(smallState([], ['10.96.0.1:80']));
      expect(await table()).toMatch(/0A010002:0050 +Masq +0 +1/);
      expect(await say('after')).toBe('after');
      client.stdin?.end();
      await backend.ended();
      expect(await table()).not.toContain('0A010002');
    } finally {
      await pod.close();
    }
  });
});
