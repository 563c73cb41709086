// What others read of a real node through the API server: its summary, metrics, configuration and logs; and who may read, and who may act.
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasKubectl, isRunning, KubectlNode } from './kubectl-node.ts';

const node = new KubectlNode();
const proxy = '/api/v1/nodes/n1/proxy';

beforeAll(async () => {
  if (!hasKubectl) return;
  await node.start({ configuration: { maxPods: 17 } });
  const script =
    'dd if=/dev/zero of=/written bs=1M count=8; dd if=/dev/zero of=/data/file bs=1M count=4; echo said; while true; do true; done';
  await node.startPod('busy', script, {
    container: {
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
      resources: { limits: { cpu: '50m', memory: '64Mi' } },
    },
    spec: { volumes: [{ name: 'data', emptyDir: {} }] },
  });
  await node.untilPod('busy', 'runs', isRunning);
});

afterAll(async () => {
  if (hasKubectl) await node.stop();
});

async function raw(path: string): Promise<string> {
  const { code, out, err } = await node.kubectl.ask('get', '--raw', `${proxy}${path}`);
  expect([code, err]).toEqual([0, '']);
  return out;
}

interface Fs {
  readonly usedBytes: number;
  readonly capacityBytes: number;
  readonly inodesUsed: number;
}

interface Use {
  readonly cpu: { readonly usageCoreNanoSeconds: number; readonly usageNanoCores?: number };
  readonly memory: { readonly workingSetBytes: number; readonly rssBytes: number };
}

interface Summary {
  readonly node: Use & {
    readonly nodeName: string;
    readonly systemContainers: readonly { readonly name: string }[];
    readonly fs: Fs;
    readonly runtime: { readonly imageFs: Fs };
    readonly rlimit: { readonly maxpid: number };
  };
  readonly pods: readonly (Use & {
    readonly podRef: { readonly name: string };
    readonly network: { readonly name: string; readonly rxBytes: number };
    readonly volume: readonly (Fs & { readonly name: string })[];
    readonly 'ephemeral-storage': Fs;
    readonly process_stats: { readonly process_count: number };
    readonly containers: readonly (Use & { readonly rootfs: Fs; readonly logs: Fs })[];
  })[];
}

interface Seen {
  readonly itself: Summary['node'];
  readonly pod: Summary['pods'][number];
  readonly app: Summary['pods'][number]['containers'][number];
}

/** The summary once it is so, with its only pod and the container of that. */
async function summaryWhen(what: string, holds: (seen: Seen) => boolean): Promise<Seen> {
  let last: Seen | undefined;
  await node.cluster.control.until(what, async () => {
    const { node: itself, pods } = JSON.parse(await raw('/stats/summary')) as Summary;
    const [pod, ...others] = pods;
    const [app] = pod?.containers ?? [];
    if (pod === undefined || app === undefined) return false;
    expect([pod.podRef.name, others]).toEqual(['busy', []]);
    last = { itself, pod, app };
    return holds(last);
  });
  if (last === undefined) throw new Error('nothing was seen');
  return last;
}

const mebibyte = 1024 ** 2;

describe.skipIf(!hasKubectl)('a node', () => {
  it('has a summary of what it and its pods use', async () => {
    // What lies on disks is measured by the runtime each ten seconds.
    const { itself, pod, app } = await summaryWhen(
      'a second reading is there',
      (seen) =>
        seen.pod.cpu.usageNanoCores !== undefined && seen.app.rootfs.usedBytes >= 8 * mebibyte,
    );
    expect(itself.nodeName).toBe('n1');
    expect(itself.systemContainers.map(({ name }) => name)).toEqual(['kubelet', 'pods']);
    for (const use of [itself, pod, app]) {
      expect(use.cpu.usageCoreNanoSeconds).toBeGreaterThan(1e6);
      expect(use.memory.workingSetBytes).toBeGreaterThan(100_000);
      expect(use.memory.rssBytes).toBeGreaterThan(0);
    }
    expect(pod.memory.workingSetBytes).toBeLessThan(64 * mebibyte);
    // 50 thousandths of a core are all that it may have; between two readings there may be a burst.
    expect(pod.cpu.usageNanoCores).toBeLessThan(200_000_000);
    expect(pod.network).toMatchObject({ name: 'eth0' });
    expect(pod.network.rxBytes).toBeGreaterThan(0);
    expect(pod.process_stats.process_count).toBeGreaterThan(1);
    expect(app.logs.usedBytes).toBeGreaterThan(0);
    expect(itself.fs.capacityBytes).toBeGreaterThan(itself.fs.usedBytes);
    expect(itself.runtime.imageFs.usedBytes).toBeGreaterThan(0);
    expect(itself.rlimit.maxpid).toBeGreaterThan(0);
  });

  it('counts what a pod writes into its volumes and over its image as its ephemeral storage', async () => {
    const { pod } = await summaryWhen('the volume was measured', (seen) =>
      seen.pod.volume.some(({ name, usedBytes }) => name === 'data' && usedBytes >= 4 * mebibyte),
    );
    expect(pod['ephemeral-storage'].usedBytes).toBeGreaterThanOrEqual(12 * mebibyte);
    expect(pod['ephemeral-storage'].usedBytes).toBeLessThan(24 * mebibyte);
  });

  it('has what the metrics server scrapes', async () => {
    const lines = (await raw('/metrics/resource')).split('\n');
    const value = (start: string): number =>
      Number(
        lines
          .find((line) => line.startsWith(start))
          ?.split(' ')
          .at(-2),
      );
    const of = 'namespace="default",pod="busy"}';
    expect(value('node_cpu_usage_seconds_total ')).toBeGreaterThan(0);
    expect(value('node_memory_working_set_bytes ')).toBeGreaterThan(mebibyte);
    expect(value(`pod_cpu_usage_seconds_total{${of}`)).toBeGreaterThan(0);
    expect(value(`pod_memory_working_set_bytes{${of}`)).toBeGreaterThan(100_000);
    expect(value(`container_cpu_usage_seconds_total{container="main",${of}`)).toBeGreaterThan(0);
    expect(value(`container_start_time_seconds{container="main",${of}`)).toBeGreaterThan(1.7e9);
    expect(lines).toContain('resource_scrape_error 0');
  });

  it('has the series of dashboards', async () => {
    const lines = (await raw('/metrics/cadvisor')).split('\n');
    const of = (name: string): readonly string[] =>
      lines.filter((line) => line.startsWith(`${name}{container="main"`));
    for (const name of [
      'container_cpu_usage_seconds_total',
      'container_cpu_cfs_throttled_periods_total',
      'container_memory_working_set_bytes',
      'container_memory_rss',
      'container_memory_cache',
      'container_fs_usage_bytes',
      'container_start_time_seconds',
    ]) {
      const [line = '', ...more] = of(name);
      expect([name, more]).toEqual([name, []]);
      expect(line).toMatch(/image="[^"]*local\/busybox:1",name="[0-9a-f]{64}",namespace="default"/);
      expect(Number(line.split(' ').at(-2))).toBeGreaterThan(0);
    }
    expect(of('container_spec_memory_limit_bytes')[0]).toMatch(/ 67108864 \d+$/);
    expect(of('container_spec_cpu_quota')[0]).toMatch(/ 5000 \d+$/);
    expect(
      lines.filter((line) =>
        /^container_network_receive_bytes_total\{.*pod="busy",interface="eth0"\} /.test(line),
      ),
    ).toHaveLength(1);
    expect(lines).toContain('container_scrape_error 0');
  });

  it('shows the configuration that it runs by, and its folder of logs', async () => {
    const { kubeletconfig } = JSON.parse(await raw('/configz')) as { kubeletconfig: object };
    expect(kubeletconfig).toMatchObject({ kind: 'KubeletConfiguration', maxPods: 17 });
    expect(await raw('/logs/')).toContain('<a href="pods/">pods/</a>');
    const [folder] = /default_busy_[0-9a-f-]+/.exec(await raw('/logs/pods/')) ?? [];
    expect(await raw(`/logs/pods/${folder}/main/0.log`)).toContain('said');
  });
});

/** With what the node itself answers an account. */
async function answered(
  account: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const token = (await node.kubectl.ask('create', 'token', account)).out.trim();
  const asked = request({
    host: node.kubelet.node.address,
    port: 10_250,
    path,
    method,
    headers: { Authorization: `Bearer ${token}`, ...headers },
    rejectUnauthorized: false,
    agent: false,
  });
  asked.end();
  return new Promise((resolve, reject) => {
    asked.once('error', reject);
    asked.once('upgrade', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode ?? 0);
    });
    asked.once('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
  });
}

const webSocket = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'c3dpdGNoeWFyZHN3aXRjaA==',
  'Sec-WebSocket-Protocol': 'v4.channel.k8s.io',
};
const spdy = (protocol: string): Readonly<Record<string, string>> => ({
  Connection: 'Upgrade',
  Upgrade: 'SPDY/3.1',
  'X-Stream-Protocol-Version': protocol,
});

describe.skipIf(!hasKubectl)('an account', () => {
  beforeAll(async () => {
    const rights = {
      reader: ['get', 'nodes/proxy'],
      actor: ['create', 'nodes/proxy'],
      measurer: ['get', 'nodes/stats'],
    };
    for (const [name, [verb, resource]] of Object.entries(rights)) {
      await node.kubectl.ask('create', 'serviceaccount', name);
      await node.kubectl.ask(
        'create',
        'clusterrole',
        name,
        `--verb=${verb}`,
        `--resource=${resource}`,
      );
      const subject = `--serviceaccount=default:${name}`;
      await node.kubectl.ask(
        'create',
        'clusterrolebinding',
        name,
        `--clusterrole=${name}`,
        subject,
      );
    }
  });

  const inPod = [
    ['exec', '/exec/default/busy/main?command=id&output=1', 'v4.channel.k8s.io'],
    ['attach', '/attach/default/busy/main?output=1', 'v4.channel.k8s.io'],
    ['portForward', '/portForward/default/busy?port=80', 'portforward.k8s.io'],
  ] as const;

  it.each(inPod)(
    'that may get nodes/proxy may not %s, and one that may create may',
    async (_, path, protocol) => {
      expect(await answered('reader', 'GET', path, webSocket)).toBe(403);
      expect(await answered('reader', 'POST', path, spdy(protocol))).toBe(403);
      expect(await answered('actor', 'GET', path, webSocket)).toBe(101);
      expect(await answered('actor', 'POST', path, spdy(protocol))).toBe(101);
    },
  );

  it('reads what its rights are for, and nothing else', async () => {
    expect(await answered('reader', 'GET', '/containerLogs/default/busy/main?limitBytes=1')).toBe(
      200,
    );
    expect(await answered('reader', 'GET', '/pods')).toBe(200);
    expect(await answered('reader', 'GET', '/configz')).toBe(200);
    expect(await answered('reader', 'GET', '/stats/summary')).toBe(403);
    expect(await answered('reader', 'POST', '/run/default/busy/main?cmd=id')).toBe(403);
    expect(await answered('actor', 'GET', '/pods')).toBe(403);
    expect(await answered('measurer', 'GET', '/stats/summary')).toBe(200);
    for (const path of ['/metrics/resource', '/pods', '/logs/', '/configz', '/healthz']) {
      expect([path, await answered('measurer', 'GET', path)]).toEqual([path, 403]);
    }
  });
});
