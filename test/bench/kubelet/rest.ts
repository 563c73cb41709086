import { setTimeout as delay } from 'node:timers/promises';
import { memoryRow, podSpec } from './kubelet-bench.ts';
import type { KubeletBench, KubeletPart, KubeletScale } from './kubelet-bench.ts';

const label = 'part=rest';
const deployment = '/apis/apps/v1/namespaces/default/deployments';
const measuredMs = 60_000;
const every = { periodSeconds: 10 };

/** What the agent takes while nothing happens but probes: all else that it does at rest is in it, too. */
export const rest: KubeletPart = {
  title: ({ pods }) =>
    `${pods} pods at rest, each with two probes each ten seconds: readiness over HTTP, liveness by TCP`,
  async run(bench, scale, note) {
    await apply(bench, scale);
    await delay(scale.settleMs);
    const before = bench.agentCpuSeconds();
    const began = performance.now();
    await delay(measuredMs);
    const used = bench.agentCpuSeconds() - before;
    const seconds = (performance.now() - began) / 1000;
    const percent = (used / seconds) * 100;
    note({
      what: `CPU of one core, over ${seconds.toFixed(0)} s`,
      own: { value: percent, text: `${percent.toFixed(1)} % (${used.toFixed(2)} s)` },
      target: { kind: 'limit', limit: 3, text: '3 %' },
    });
    note(memoryRow('resident', bench.agentMemory(), 120));
    await bench.cluster.control.must('DELETE', `${deployment}/rest`);
    await bench.removePods(label);
  },
};

async function apply(bench: KubeletBench, { pods }: KubeletScale): Promise<void> {
  const matchLabels = { part: 'rest' };
  const probes = {
    readinessProbe: { httpGet: { port: 80 }, ...every },
    livenessProbe: { tcpSocket: { port: 80 }, ...every },
  };
  const containers = podSpec.containers.map((container) => ({
    ...container,
    ...probes,
    command: ['httpd', '-f', '-h', '/www'],
  }));
  await bench.cluster.control.must('POST', deployment, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'rest' },
    spec: {
      replicas: pods,
      selector: { matchLabels },
      template: { metadata: { labels: matchLabels }, spec: { ...podSpec, containers } },
    },
  });
  const readyPods = (): number =>
    [...bench.watch.readyMs.keys()].filter((name) => name.startsWith('rest-')).length;
  await bench.until(`${pods} pods are Ready`, () => readyPods() >= pods);
}
