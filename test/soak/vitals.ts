import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/node-lab.ts';
import type { NodeLab } from '../support/node-lab.ts';

/** What the agent and its node hold at one moment. */
export interface Vitals {
  readonly atMs: number;
  readonly rssMiB: number;
  /** Used, garbage among it. */
  readonly heapMiB: number;
  /** Since its start. */
  readonly cpuSeconds: number;
  readonly descriptors: number;
  readonly children: number;
  readonly rules: number;
  readonly sets: number;
  readonly conntrack: number;
  readonly syncs: number;
  readonly restoreFailures: number;
  readonly unprogrammed: number;
  /** In userspace mode: of Services that nobody touches. */
  readonly failedDials: number;
  /** In userspace mode: open connections and flows. */
  readonly carried: number;
}

const MiB = 1024 * 1024;

export async function readVitals(lab: NodeLab, agent: AgentProcess): Promise<Vitals> {
  const body = await metricsText(lab, agent);
  const proc = `/proc/${agent.pid}`;
  const [rules, sets, entries, descriptors, children] = await Promise.all([
    ruleLines(lab),
    setNames(lab),
    lab.setting('net/netfilter/nf_conntrack_count'),
    readdir(`${proc}/fd`),
    readFile(`${proc}/task/${agent.pid}/children`, 'utf8'),
  ]);
  return {
    atMs: performance.now(),
    rssMiB: metric(body, 'process_resident_memory_bytes') / MiB,
    heapMiB: metric(body, 'nodejs_heap_size_used_bytes') / MiB,
    cpuSeconds: metric(body, 'process_cpu_seconds_total'),
    descriptors: descriptors.length,
    children: children.split(' ').filter((pid) => pid !== '').length,
    rules: rules.filter((line) => line.includes(' -A ')).length,
    sets: sets.length,
    conntrack: Number(entries),
    syncs: metric(body, 'kubeproxy_sync_proxy_rules_duration_seconds_count'),
    restoreFailures:
      metric(body, 'kubeproxy_sync_proxy_rules_iptables_restore_failures_total') +
      metric(body, 'kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total'),
    unprogrammed: metric(body, 'switchyard_services_not_programmed'),
    carried: metric(body, 'switchyard_relay_active'),
    failedDials: metric(
      body.replace(/^.*service="churn-.*$/gm, ''),
      'switchyard_relay_dial_failures_total',
    ),
  };
}

/** A machine that is busy with other things may take more than a moment. */
async function metricsText(lab: NodeLab, agent: AgentProcess): Promise<string> {
  const look = async () => lab.get('node', 'http://127.0.0.1:10249/metrics');
  try {
    return (await eventually(look, ({ status }) => status === 200, 60_000)).body;
  } catch (cause) {
    const said = agent.log.split('\n').slice(-20).join('\n');
    throw new Error(`the agent's metrics do not answer; it said last:\n${said}`, { cause });
  }
}

/** The sum of all series of a metric. */
export function metric(text: string, name: string): number {
  const series = new RegExp(String.raw`^${name}(?:\{[^}]*\})? (\S+)$`, 'gm');
  return [...text.matchAll(series)].reduce((sum, [, value]) => sum + Number(value), 0);
}

/** Everything in the kernel that the agent made, comparable: without counters and generations. */
export async function kernelState(lab: NodeLab): Promise<string> {
  return [...(await ruleLines(lab)), ...(await setNames(lab))].join('\n');
}

/** Rules of both families as `FAMILY TABLE CHAIN RULE`; chains sorted by name, their rules in order. */
async function ruleLines(lab: NodeLab): Promise<readonly string[]> {
  const all: { readonly place: string; readonly line: string }[] = [];
  for (const tool of ['iptables-save', 'ip6tables-save']) {
    let table = '';
    for (const line of (await save(lab, tool)).split('\n')) {
      if (line.startsWith('*')) table = line.slice(1);
      const chain = /^(?::|-A )(\S+)/.exec(line)?.[1];
      if (chain === undefined) continue;
      const plain = line
        .replace(/ \[\d+:\d+\]$/, '')
        .replace(/"switchyard generation [^"]*"/, '"switchyard generation"');
      const place = `${tool} ${table} ${chain}`;
      all.push({ place, line: `${place} ${plain}` });
    }
  }
  return all
    .toSorted((a, b) => (a.place < b.place ? -1 : Number(a.place > b.place)))
    .map(({ line }) => line);
}

/** The tool fails where a set goes between its look at the rules and its question for the set's name. */
async function save(lab: NodeLab, tool: string): Promise<string> {
  const look = async () => lab.onNode(tool).catch((error: unknown) => String(error));
  return eventually(look, (text) => text.endsWith('\n') && text.includes('\nCOMMIT\n'), 30_000);
}

async function setNames(lab: NodeLab): Promise<readonly string[]> {
  const text = await lab.onNode('ipset', 'list', '-n');
  return text
    .split('\n')
    .filter((name) => name !== '')
    .toSorted();
}

/**
 * MiB of heap after a collection, by Node's own inspector: it opens on SIGUSR1, in the node's namespace,
 * and stays open, so it is opened once before the first figure.
 */
export async function collectedHeapMiB(lab: NodeLab, agent: AgentProcess): Promise<number> {
  process.kill(agent.pid, 'SIGUSR1');
  await eventually(
    async () => lab.get('node', 'http://127.0.0.1:9229/json/list'),
    ({ status }) => status === 200,
  );
  const script = join(import.meta.dirname, 'collected-heap.ts');
  const used = await lab.onNode(process.execPath, script);
  return Number(used) / MiB;
}
