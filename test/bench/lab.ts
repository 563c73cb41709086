import { join } from 'node:path';
import { Namespaces } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { realPod } from './workload.ts';

export type Variant = 'legacy' | 'nft';

/** Percentiles of TCP connects, in microseconds. */
export interface ConnectLatency {
  readonly p50: number;
  readonly p99: number;
}

type Place = 'client' | 'node' | 'pod';

/** The usual layout of 30,000 services takes minutes. */
const timeoutMs = 3_600_000;

/** client ── node ── pod, each a network namespace of its own; removed by `close`. */
export class BenchLab {
  readonly #namespaces: Namespaces;
  readonly #interrupted: AbortSignal;

  private constructor(prefix: string, interrupted: AbortSignal) {
    this.#namespaces = new Namespaces({ tools: systemTools, prefix });
    this.#interrupted = interrupted;
  }

  /** `prefix` tells labs of one run apart; what earlier runs of it left is removed. */
  static async create(prefix: string, interrupted: AbortSignal): Promise<BenchLab> {
    const lab = new BenchLab(prefix, interrupted);
    const namespaces = lab.#namespaces;
    await namespaces.removeLeftovers();
    try {
      await namespaces.add(['client', 'node', 'pod']);
      await lab.#wire('client', '10.201.0');
      await lab.#wire('pod', '10.200.0');
      await namespaces.setUp('node', { 'net/ipv4/ip_forward': '1' });
      void namespaces.spawn('pod', 'python3', [script('accept.py'), '8080', '80']);
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** Seconds for one restore in the node. */
  async restore(variant: Variant, rules: string): Promise<number> {
    const started = process.hrtime.bigint();
    await this.#run('node', `iptables-${variant}-restore`, ['--noflush'], rules);
    return Number(process.hrtime.bigint() - started) / 1e9;
  }

  /** Empties the node's tables and its connection tracking. */
  async reset(): Promise<void> {
    for (const variant of ['legacy', 'nft'] as const) {
      const tables = ['filter', 'nat', 'mangle'].map((table) => `*${table}\nCOMMIT\n`).join('');
      await this.#run('node', `iptables-${variant}-restore`, [], tables);
    }
    await this.#run('node', 'nft', ['flush', 'ruleset']);
    await this.#run('node', 'conntrack', ['-F']);
  }

  /** Connections are tracked, by the one rule that needs it; nothing else is done to packets. */
  async trackConnections(): Promise<void> {
    await this.restore('legacy', '*nat\n-A POSTROUTING -m conntrack --ctstate INVALID\nCOMMIT\n');
  }

  /** TCP connects from the client, one after the other. */
  async connects(address: string, port: number, count: number): Promise<ConnectLatency> {
    const args = [script('connect.py'), address, `${port}`, `${count}`];
    return JSON.parse(await this.#run('client', 'python3', args)) as ConnectLatency;
  }

  async close(): Promise<void> {
    await this.#namespaces.close();
  }

  async #wire(peer: 'client' | 'pod', prefix: string): Promise<void> {
    await this.#namespaces.connect([
      { from: { role: 'node', device: peer }, to: { role: peer, device: 'eth0' } },
    ]);
    await this.#namespaces.ip('node', [`addr add ${prefix}.1/24 dev ${peer}`]);
    await this.#namespaces.ip(peer, [
      `addr add ${prefix}.2/24 dev eth0`,
      `route add default via ${prefix}.1`,
    ]);
  }

  /** Runs a program in one of the namespaces; answers what it printed. */
  async #run(where: Place, tool: string, args: readonly string[], input = ''): Promise<string> {
    const { exitCode, stdout, stderr } = await systemTools.run(
      'ip',
      ['netns', 'exec', this.#namespaces.name(where), tool, ...args],
      { input, timeoutMs, signal: this.#interrupted },
    );
    if (exitCode !== 0) throw new Error(`${tool} ${args.join(' ')}: ${exitCode} ${stderr}`);
    return stdout;
  }
}

/** The pod's address, reached directly: no service's traffic. */
export const bystander = realPod;

function script(name: string): string {
  return join(import.meta.dirname, name);
}
