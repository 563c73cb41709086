import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { labels } from '../../../src/kubelet/runtime/labels.ts';
import { Tasks } from '../../kubelet/contract/tasks.ts';
import { none, secondsLimit } from '../upstream/rows.ts';
import type { Row } from '../upstream/rows.ts';
import { memoryRow, podSpec, podsPath } from './kubelet-bench.ts';
import type { KubeletBench, KubeletPart, KubeletScale } from './kubelet-bench.ts';

const label = 'part=burst';
const deployments = '/apis/apps/v1/namespaces/default/deployments';
/** How the agent is ended before each restart. */
const ends = ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const;

/** A Deployment of many replicas on one node, what the agent needs with them, and restarts of it. */
export const burst: KubeletPart = {
  title: ({ pods }) =>
    `${pods} pods on one node from one apply of a Deployment, and the agent with them`,
  async run(bench, scale, note) {
    await apply(bench, scale, note);
    await rest(bench, scale, note);
    const tasks = new Tasks(bench.node.connect());
    tasks.follow();
    await delay(500);
    const seconds: number[] = [];
    for (const [i, signal] of ends.entries()) {
      seconds.push(await restart(bench, `witness-${i}`, signal));
      bench.progress(`restart after ${signal}: ${seconds.at(-1)?.toFixed(2)} s`);
    }
    tasks.leave();
    note({
      what: `restart: started → status is true again, worst of ${ends.length}`,
      own: {
        value: Math.max(...seconds),
        text: `${Math.max(...seconds).toFixed(2)} s (${seconds.map((each) => each.toFixed(2)).join(', ')})`,
      },
      target: secondsLimit(5),
    });
    // A witness is two of its own: its sandbox and its container.
    const again = tasks.started - 2 * ends.length;
    note(countRow('containers started by restarts', again));
    note(countRow('restarts that containers are said to have', bench.watch.mostRestarts));
    note(countRow('pods that were not Ready for a moment, by restarts', bench.watch.faltered.size));
    await bench.cluster.control.must('DELETE', `${deployments}/burst`);
    await bench.removePods(label);
  },
};

function countRow(what: string, value: number): Row {
  return {
    what,
    own: { value, text: String(value) },
    target: { kind: 'limit', limit: 0, text: '0' },
  };
}

async function apply(
  bench: KubeletBench,
  { pods }: KubeletScale,
  note: (row: Row) => void,
): Promise<void> {
  const matchLabels = { part: 'burst' };
  const cpuBefore = bench.agentCpuSeconds();
  const began = performance.now();
  await bench.cluster.control.must('POST', deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'burst' },
    spec: {
      replicas: pods,
      selector: { matchLabels },
      template: { metadata: { labels: matchLabels }, spec: podSpec },
    },
  });
  const readyPods = (): number =>
    [...bench.watch.readyMs.keys()].filter((name) => name.startsWith('burst-')).length;
  await bench.until(`${pods} pods are Ready`, () => readyPods() >= pods);
  const seconds = (performance.now() - began) / 1000;
  const cpu = bench.agentCpuSeconds() - cpuBefore;
  note({
    what: 'applied → all Ready',
    own: { value: seconds, text: `${seconds.toFixed(1)} s` },
    target: secondsLimit(40),
  });
  const share = (cpu / (seconds * cpus().length)) * 100;
  note({
    what: `agent's share of the ${cpus().length} cores meanwhile`,
    own: { value: share, text: `${share.toFixed(0)} % (${cpu.toFixed(1)} s of CPU)` },
    target: { kind: 'limit', limit: 35, text: '35 %' },
  });
}

async function rest(
  bench: KubeletBench,
  { pods, settleMs }: KubeletScale,
  note: (row: Row) => void,
): Promise<void> {
  await delay(settleMs / 2);
  const cpuBefore = bench.agentCpuSeconds();
  await delay(settleMs / 2);
  const percent = ((bench.agentCpuSeconds() - cpuBefore) / (settleMs / 2000)) * 100;
  note(
    memoryRow(`resident with ${pods} pods, ${settleMs / 1000} s later`, bench.agentMemory(), 120),
  );
  note({
    what: 'CPU at rest, of one core',
    own: { value: percent, text: `${percent.toFixed(1)} %` },
    target: none,
  });
}

/**
 * Ends the agent, lets a container end while it is away, and starts it: seconds until the API says so, and the node has reported again.
 */
async function restart(
  bench: KubeletBench,
  witness: string,
  signal: 'SIGTERM' | 'SIGKILL',
): Promise<number> {
  const metadata = { name: witness, labels: { part: 'burst' } };
  await bench.cluster.control.must('POST', podsPath, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: { ...podSpec, restartPolicy: 'Never' },
  });
  await bench.until(`${witness} is Ready`, () => bench.watch.readyMs.has(witness));
  await (signal === 'SIGTERM' ? bench.agent.stop() : bench.agent.kill());
  await endContainer(bench, witness);
  const startedMs = performance.now();
  bench.startAgent();
  await bench.until(
    'the status is true again',
    () => bench.watch.overMs.has(witness) && bench.watch.nodeReportedMs > startedMs,
  );
  const trueMs = Math.max(bench.watch.overMs.get(witness) ?? 0, bench.watch.nodeReportedMs);
  // What a restart would do wrong it would do soon.
  await delay(3000);
  return (trueMs - startedMs) / 1000;
}

async function endContainer(bench: KubeletBench, pod: string): Promise<void> {
  const { runtime } = bench.node.connect();
  const labelSelector = { [labels.podName]: pod };
  const { containers } = await runtime.listContainers({ filter: { labelSelector } });
  const [container] = containers;
  if (container === undefined) throw new Error(`${pod} has no container`);
  await runtime.stopContainer({ containerId: container.id, timeout: 0n });
}
