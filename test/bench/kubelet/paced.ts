import { setTimeout as delay } from 'node:timers/promises';
import { proxyFlags } from '../../kubelet/proxy-flags.ts';
import { percentile } from '../upstream/figures.ts';
import { none, secondsLimit } from '../upstream/rows.ts';
import type { Target } from '../upstream/rows.ts';
import { memoryRow, podSpec, podsPath } from './kubelet-bench.ts';
import type { KubeletBench, KubeletPart, KubeletScale } from './kubelet-bench.ts';
import { containerdShares } from './runtime-share.ts';

const everyMs = 1000;
const services = 50;

/** Pods one after the other on one node, until Ready; and then both halves of the agent in one process, with Services before those pods. */
export const paced: KubeletPart = {
  title: ({ paced: count }) =>
    `${count} pods at one a second, on one node: created → Ready by a watch; and then both halves in one process`,
  async run(bench, scale, note) {
    const createdMs = await create(bench, scale.paced);
    await bench.until('all pods are Ready', () =>
      [...createdMs.keys()].every((name) => bench.watch.readyMs.has(name)),
    );
    const tookMs = [...createdMs].map(([name, ms]) => (bench.watch.readyMs.get(name) ?? 0) - ms);
    const shares = containerdShares(bench.node.tail('containerd.log', Number.MAX_SAFE_INTEGER));
    const shareMs = [...createdMs.keys()].flatMap((name) => shares.get(name) ?? []);
    const row = (what: string, ms: readonly number[], share: number, target: Target): void => {
      const value = percentile(ms, share) / 1000;
      note({ what, own: { value, text: `${value.toFixed(2)} s` }, target });
    };
    row('created → Ready, p50', tookMs, 0.5, secondsLimit(0.6));
    row('created → Ready, p99', tookMs, 0.99, secondsLimit(2));
    row('of that in containerd (sandbox, container, start), p50', shareMs, 0.5, none);
    row('of that in containerd, p99', shareMs, 0.99, none);
    await bothHalves(bench, scale);
    note(
      memoryRow(
        `switchyard node: ${scale.paced} pods, ${services} Services`,
        bench.agentMemory(),
        160,
      ),
    );
  },
};

/** By name, when it was asked for; at a steady pace, whatever becomes of those before. */
async function create(bench: KubeletBench, count: number): Promise<ReadonlyMap<string, number>> {
  const createdMs = new Map<string, number>();
  const asked: Promise<unknown>[] = [];
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    await delay(Math.max(0, began + i * everyMs - performance.now()));
    const name = `paced-${String(i).padStart(3, '0')}`;
    createdMs.set(name, performance.now());
    const metadata = { name, labels: { part: 'paced', slot: String(i % services) } };
    const object = { apiVersion: 'v1', kind: 'Pod', metadata, spec: podSpec };
    asked.push(bench.cluster.control.must('POST', podsPath, object));
    if (i % 10 === 9)
      bench.progress(`${i + 1} pods made, ${bench.watch.readyMs.size} were Ready so far`);
  }
  await Promise.all(asked);
  return createdMs;
}

async function bothHalves(bench: KubeletBench, { settleMs }: KubeletScale): Promise<void> {
  for (let i = 0; i < services; i++) {
    await bench.cluster.control.must('POST', '/api/v1/namespaces/default/services', {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: `paced-${i}` },
      spec: { selector: { slot: String(i) }, ports: [{ name: 'http', port: 80 }] },
    });
  }
  await bench.agent.stop();
  bench.startAgent({ proxyFlags: proxyFlags(bench.node) });
  const startedMs = performance.now();
  await bench.until('the node is Ready', () => bench.watch.nodeReportedMs > startedMs);
  await bench.until('there are rules', () =>
    /KUBE-SERVICES.*10\.96/.test(bench.node.run('iptables-save', '-t', 'nat')),
  );
  await delay(settleMs);
}
