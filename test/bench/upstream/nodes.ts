import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { execa } from 'execa';
import { systemTools } from '../../../src/host/run-tool.ts';
import { etcdUrl } from '../../cluster/control-plane.ts';
import { TwinNodes } from '../../cluster/twin-nodes.ts';
import type { Twins } from '../../cluster/twin-nodes.ts';
import { upstreamCommand } from '../../cluster/upstream-proxy.ts';
import { proxyCommand } from '../../support/agent-process.ts';
import type { AgentProcess } from '../../support/agent-process.ts';
import type { Actor, NodeLab } from '../../support/node-lab.ts';
import type { Bench, Variant } from './bench.ts';
import { cpuTicks, memory } from './figures.ts';
import type { Memory } from './figures.ts';
import { askedServices, podPort } from './objects.ts';
import type { Scale } from './objects.ts';
import { isAnswer, Poller } from './poller.ts';
import type { Polling } from './poller.ts';

/** Ours and upstream's: the node, and the proxy that belongs on it. */
export type Side = 'switchyard' | 'upstream';

/** What was measured of both; a side may not have been run, or given up. */
export interface BySide<T> {
  switchyard?: T | undefined;
  upstream?: T | undefined;
}

const loadMs = 300_000;
const pods = ['pod-a', 'pod-b', 'pod-c'] as const;
const startPoll: Polling = { everyMs: 20, timeoutMs: 200, firstPort: 10_000 };

/** A proxy that runs, and when it was started (monotonic clock, ns). */
export interface RunningProxy {
  readonly process: AgentProcess;
  readonly startedNs: number;
}

/** How proxies are started and asked. */
interface NodesOptions {
  readonly variant: Variant;
  readonly commands: Readonly<Record<Side, readonly string[]>>;
  /** How services are asked while a proxy starts. */
  readonly poll: Polling;
}

/** Two nodes beside a control plane whose etcd was filled with a scale's objects; pods answer with their names. */
export class BenchNodes {
  readonly scale: Scale;
  readonly twins: Twins;
  #generation = 0;
  readonly #bench: Bench;
  readonly #options: NodesOptions;

  /** On twins that are there, with their objects. */
  constructor(twins: Twins, scale: Scale, bench: Bench, options: NodesOptions) {
    this.twins = twins;
    this.scale = scale;
    this.#bench = bench;
    this.#options = options;
  }

  /** Builds it for the time of `work`. */
  static async during(
    bench: Bench,
    scale: Scale,
    variant: Variant,
    work: (nodes: BenchNodes) => Promise<void>,
  ): Promise<void> {
    bench.progress(`${scale.services} services of ${scale.endpoints} endpoints, ${variant} tools`);
    const twins = await TwinNodes.create(variant, {
      load: async (namespace) => load(namespace, scale, bench.signal),
      signal: bench.signal,
    });
    try {
      for (const lab of Object.values(twins.labs)) startPods(lab);
      const commands = { switchyard: proxyCommand(bench.bundle), upstream: upstreamCommand() };
      await work(new BenchNodes(twins, scale, bench, { variant, commands, poll: startPoll }));
    } finally {
      await twins.close();
    }
  }

  /** A number for a change that no change had before: one that repeats what is there is none. */
  nextGeneration(): number {
    return this.#generation++;
  }

  /** The namespace of an actor of one side's lab. */
  namespace(side: Side, actor: Actor): string {
    return this.twins.labs[side].namespace(actor);
  }

  /** Starts a proxy with its own defaults; on its own node unless said otherwise. */
  start(proxy: Side, node: Side = proxy): RunningProxy {
    const startedNs = Number(process.hrtime.bigint());
    return { process: this.twins.startProxy(node, [], this.#options.commands[proxy]), startedNs };
  }

  /** Seconds from a proxy's start until every asked service answers a client; undefined: not in time. */
  async startAndWait(
    proxy: Side,
    node: Side = proxy,
  ): Promise<RunningProxy & { readonly seconds: number | undefined }> {
    const { signal, startSeconds } = this.#bench;
    const addresses = askedServices(this.scale).map(({ clusterIP }) => clusterIP);
    const poller = new Poller(this.namespace(node, 'client'), addresses, this.#options.poll);
    try {
      await poller.first(() => true, signal);
      const running = this.start(proxy, node);
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(startSeconds * 1000)]);
      const ended = running.process.ended().then(() => {
        throw new Error(`${proxy} has ended: ${running.process.log.slice(-400)}`);
      });
      const all = Promise.all(
        addresses.map(async (address) =>
          poller.first((each) => each.address === address && isAnswer(each), inTime),
        ),
      );
      try {
        const answers = await Promise.race([all, ended]);
        const last = Math.max(...answers.map(({ answeredNs }) => answeredNs));
        return { ...running, seconds: (last - running.startedNs) / 1e9 };
      } catch (error) {
        signal.throwIfAborted();
        if (inTime.aborted) return { ...running, seconds: undefined };
        throw error;
      } finally {
        ended.catch(() => {}); // its end is no news once nobody waits for it
        all.catch(() => {});
      }
    } finally {
      await poller.stop();
    }
  }

  /** Removes all rules, sets and tracked connections of a node, as if it had just booted. */
  async reset(side: Side): Promise<void> {
    const tables = ['filter', 'nat', 'mangle'].map((table) => `*${table}\nCOMMIT\n`).join('');
    if (this.#options.variant === 'nft') await this.#onNode(side, ['nft', 'flush', 'ruleset']);
    else {
      for (const tool of ['iptables', 'ip6tables']) {
        await this.#onNode(side, [`${tool}-legacy-restore`], tables);
      }
    }
    await this.#onNode(side, ['ipset', 'destroy']);
    await this.#onNode(side, ['conntrack', '-F']);
  }

  /** The rules of a node, as iptables-save shows them. */
  async rules(side: Side, table: string): Promise<string> {
    return this.#onNode(side, [`iptables-${this.#options.variant}-save`, '-t', table]);
  }

  async #onNode(side: Side, command: readonly string[], input = ''): Promise<string> {
    return inNamespace(this.namespace(side, 'node'), command, this.#bench.signal, input);
  }
}

/** Runs a program in a namespace to its end; rejects where it fails. */
export async function inNamespace(
  namespace: string,
  command: readonly string[],
  signal: AbortSignal,
  input = '',
): Promise<string> {
  const args = ['netns', 'exec', namespace, ...command];
  const { exitCode, stdout, stderr } = await systemTools.run('ip', args, {
    input,
    signal,
    timeoutMs: loadMs,
  });
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${exitCode} ${stderr.slice(-400)}`);
  return stdout;
}

/** Starts what answers on a lab's pods; it ends with the lab. */
export function startPods(lab: NodeLab): void {
  for (const pod of pods) startServer(lab.namespace(pod), pod);
}

/** Starts a server that says a word to everybody; it ends with its namespace. */
export function startServer(namespace: string, word: string): void {
  const script = join(import.meta.dirname, '../accept.py');
  const args = ['netns', 'exec', namespace, 'python3', script, `--say=${word}`, `${podPort}`];
  void execa('ip', args, { reject: false, stdio: 'ignore' });
}

/** CPU time of a process and its ended children, in ticks. */
export function ticksOf({ process: { pid } }: RunningProxy): number {
  return cpuTicks(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

export function memoryOf({ process: { pid } }: RunningProxy): Memory {
  return memory(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

async function load(namespace: string, scale: Scale, signal: AbortSignal): Promise<void> {
  const script = join(import.meta.dirname, 'etcd-load.ts');
  const numbers = [scale.services, scale.endpoints].map(String);
  await inNamespace(namespace, [process.execPath, script, etcdUrl, ...numbers], signal);
}
