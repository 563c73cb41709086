// What `kubectl top` says of a node and its pods: the real metrics server runs on the node as a pod, by its own manifests, scrapes the kubelet
// with the rights of its account, and is asked through the API server's aggregation.
import { cpus, totalmem } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasKubectl, isRunning, KubectlNode } from './kubectl-node.ts';
import { hasMetricsServer } from './metrics-server/build.ts';
import { deployMetricsServer, metricsServerImage } from './metrics-server/deploy.ts';
import { proxyFlags } from './proxy-flags.ts';

const canRun = hasKubectl && hasMetricsServer;
if (!hasMetricsServer) {
  console.warn('skipped: no metrics server; `npm run test:kubelet:top` builds it');
}

// Nothing leads from where the API server runs to the addresses of Services.
const node = new KubectlNode({ apiServerFlags: ['--enable-aggregator-routing=true'] });

const heldMebibytes = 64;
/** dd has read all of it, and waits for somebody to take it. */
const hold = `mkfifo /tmp/never-read && { sleep 1000000 < /tmp/never-read & dd if=/dev/zero of=/tmp/never-read bs=${heldMebibytes}M count=1; }`;

beforeAll(async () => {
  if (!canRun) return;
  // The metrics server asks the API server at the address of its Service.
  const flags = ['--proxy-mode=iptables', ...proxyFlags(node.machine)];
  await node.start({ proxyFlags: flags }, [metricsServerImage()]);
  await node.startPod('busy', 'while true; do true; done', {
    container: { name: 'burner', resources: { limits: { cpu: '200m' } } },
  });
  await node.startPod('idle', hold, { container: { name: 'holder' } });
  await node.untilPod('busy', 'runs', isRunning);
  await node.untilPod('idle', 'runs', isRunning);
  await deployMetricsServer(node);
}, 300_000);

afterAll(async () => {
  if (canRun) await node.stop();
});

type Row = Readonly<Record<string, string>>;

/** The table that kubectl prints, by its head. */
async function top(...args: readonly string[]): Promise<readonly Row[]> {
  const { code, out, err } = await node.kubectl.ask('top', ...args);
  if (code !== 0) throw new Error(err);
  const [head = [], ...lines] = out
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  return lines.map((cells) => Object.fromEntries(head.map((name, at) => [name, cells[at] ?? ''])));
}

/** The rows once they are so: it takes two scrapes, each 15 s, until there are figures of what began a moment ago. */
async function topWhen(
  what: string,
  holds: (rows: readonly Row[]) => boolean,
  ...args: readonly string[]
): Promise<readonly Row[]> {
  let rows: readonly Row[] = [];
  await node.cluster.control.until(what, async () => {
    rows = await top(...args).catch(() => []);
    return holds(rows);
  });
  return rows;
}

const milliCores = (row: Row | undefined): number => amount(row?.['CPU(cores)'], 'm');
const mebibytes = (row: Row | undefined): number => amount(row?.['MEMORY(bytes)'], 'Mi');

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

function amount(text = '', unit: string): number {
  expect(text).toMatch(new RegExp(`^\\d+${unit}$`));
  return Number.parseInt(text, 10);
}

describe.skipIf(!canRun)('kubectl top', () => {
  it('says what each container of a pod uses', async () => {
    const rows = await topWhen(
      'both pods have figures',
      (all) => all.length === 2,
      'pod',
      '--containers',
    );
    expect(rows.map(({ POD, NAME }) => [POD, NAME])).toEqual([
      ['busy', 'burner'],
      ['idle', 'holder'],
    ]);
    const [burner, holder] = rows;
    // A fifth of a core is all that it may have, and on a busy machine it gets less.
    expect(milliCores(burner)).toBeGreaterThan(20);
    expect(milliCores(burner)).toBeLessThan(250);
    expect(mebibytes(burner)).toBeLessThan(heldMebibytes / 2);
    expect(milliCores(holder)).toBeLessThan(20);
    expect(mebibytes(holder)).toBeGreaterThanOrEqual(heldMebibytes);
    expect(mebibytes(holder)).toBeLessThan(heldMebibytes * 1.5);
  });

  it('says what the pods of all namespaces use, and the sum of it', async () => {
    const rows = await topWhen(
      'the metrics server has figures of itself',
      (all) => all.some(({ NAME }) => NAME?.startsWith('metrics-server-')),
      'pod',
      '--all-namespaces',
      '--sum',
    );
    const pods = rows.filter((row) => row['MEMORY(bytes)'] !== '');
    expect(pods.map(({ NAMESPACE }) => NAMESPACE)).toEqual(['default', 'default', 'kube-system']);
    const [, , server] = pods;
    expect(mebibytes(server)).toBeGreaterThan(10);
    const [cores = '', bytes = ''] = Object.values(rows.at(-1) ?? {}).filter((cell) => cell !== '');
    // Each row is rounded.
    expect(amount(cores, 'm')).toBeCloseTo(sum(pods.map(milliCores)), -1);
    expect(amount(bytes, 'Mi')).toBeCloseTo(sum(pods.map(mebibytes)), -1);
  });

  it('says what the node uses', async () => {
    const [row, ...others] = await topWhen('the node has figures', (all) => all.length > 0, 'node');
    expect([row?.['NAME'], others]).toEqual(['n1', []]);
    const [machineCores, machineMebibytes] = [cpus().length * 1000, totalmem() / 1024 ** 2];
    expect(milliCores(row)).toBeGreaterThan(20);
    expect(milliCores(row)).toBeLessThanOrEqual(machineCores * 1.05);
    expect(mebibytes(row)).toBeGreaterThan(heldMebibytes);
    expect(mebibytes(row)).toBeLessThan(machineMebibytes);
    const [cores, memory] = [amount(row?.['CPU(%)'], '%'), amount(row?.['MEMORY(%)'], '%')];
    expect(cores).toBeCloseTo((100 * milliCores(row)) / machineCores, -1);
    expect(memory).toBeCloseTo((100 * mebibytes(row)) / machineMebibytes, -1);
  });

  it('says no more of a pod that is gone', async () => {
    await node.kubectl.ask('delete', 'pod', 'idle', '--wait');
    await topWhen(
      'only the other one has figures',
      (all) => all.length === 1 && all[0]?.['NAME'] === 'busy',
      'pod',
    );
  });
});
