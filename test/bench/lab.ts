import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { realPod } from './workload.ts';

export type Variant = 'legacy' | 'nft';

/** Percentiles of TCP connects, in microseconds. */
export interface ConnectLatency {
  readonly p50: number;
  readonly p99: number;
}

/** client ── node ── pod, each a network namespace of its own; removed by `close`. */
export class BenchLab {
  readonly #id: string;
  readonly #server: ChildProcess;

  /** `id` tells labs of one run apart. */
  constructor(id: string) {
    this.#id = `swybench${process.pid}${id}`;
    for (const name of ['client', 'node', 'pod']) ip('netns', 'add', this.#name(name));
    this.#wire('client', '10.201.0');
    this.#wire('pod', '10.200.0');
    this.exec('node', 'sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
    this.#server = spawn('ip', [
      'netns',
      'exec',
      this.#name('pod'),
      'python3',
      script('accept.py'),
      '8080',
      '80',
    ]);
  }

  /** Runs a program in one of the namespaces; answers how long it took, in seconds. */
  exec(
    where: 'client' | 'node' | 'pod',
    tool: string,
    args: readonly string[],
    input = '',
  ): number {
    const started = process.hrtime.bigint();
    execFileSync('ip', ['netns', 'exec', this.#name(where), tool, ...args], {
      input,
      stdio: ['pipe', 'ignore', 'pipe'],
      maxBuffer: 2 ** 28,
    });
    return Number(process.hrtime.bigint() - started) / 1e9;
  }

  /** Seconds for one restore in the node. */
  restore(variant: Variant, rules: string): number {
    return this.exec('node', `iptables-${variant}-restore`, ['--noflush'], rules);
  }

  /** Empties the node's tables and its connection tracking. */
  reset(): void {
    for (const variant of ['legacy', 'nft'] as const) {
      const tables = ['filter', 'nat', 'mangle'].map((table) => `*${table}\nCOMMIT\n`).join('');
      this.exec('node', `iptables-${variant}-restore`, [], tables);
    }
    this.exec('node', 'nft', ['flush', 'ruleset']);
    this.exec('node', 'conntrack', ['-F']);
  }

  /** Connections are tracked, by the one rule that needs it; nothing else is done to packets. */
  trackConnections(): void {
    this.restore('legacy', '*nat\n-A POSTROUTING -m conntrack --ctstate INVALID\nCOMMIT\n');
  }

  /** TCP connects from the client, one after the other. */
  connects(address: string, port: number, count: number): ConnectLatency {
    const args = [
      'netns',
      'exec',
      this.#name('client'),
      'python3',
      script('connect.py'),
      address,
      `${port}`,
      `${count}`,
    ];
    return JSON.parse(execFileSync('ip', args, { encoding: 'utf8' })) as ConnectLatency;
  }

  close(): void {
    this.#server.kill('SIGKILL');
    for (const name of ['client', 'node', 'pod']) ip('netns', 'del', this.#name(name));
  }

  #wire(peer: string, prefix: string): void {
    const [node, other] = [this.#name('node'), this.#name(peer)];
    ip('-n', node, 'link', 'add', peer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', other);
    ip('-n', node, 'addr', 'add', `${prefix}.1/24`, 'dev', peer);
    ip('-n', other, 'addr', 'add', `${prefix}.2/24`, 'dev', 'eth0');
    for (const [ns, dev] of [
      [node, peer],
      [other, 'eth0'],
      [node, 'lo'],
      [other, 'lo'],
    ] as const) {
      ip('-n', ns, 'link', 'set', dev, 'up');
    }
    ip('-n', other, 'route', 'add', 'default', 'via', `${prefix}.1`);
  }

  #name(what: string): string {
    return `${this.#id}-${what}`;
  }
}

/** The pod's address, reached directly: no service's traffic. */
export const bystander = realPod;

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function script(name: string): string {
  return join(import.meta.dirname, name);
}
