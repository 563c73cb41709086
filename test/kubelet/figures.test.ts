// What others read of a real node through the API server: its summary, metrics, configuration and logs; and who may read, and who may act.
import { mkdirSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasKubectl, isRunning, KubectlNode } from './kubectl-node.ts';

const node = new KubectlNode();
const proxy = '/api/v1/nodes/n1/proxy';

beforeAll(async () => {
  if (!hasKubectl) return;
  await node.start({ configuration: { maxPods: 17, volumeStatsAggPeriod: '2s' } });
  await claimDisk();
  const written = ['/written', '/data/file', '/files/file'].map(
    (file, at) => `dd if=/dev/zero of=${file} bs=1M count=${writtenMebibytes[at]}`,
  );
  await node.startPod('busy', [...written, 'echo said; while true; do true; done'].join('; '), {
    container: {
      volumeMounts: ['data', 'files'].map((name) => ({ name, mountPath: `/${name}` })),
      resources: { limits: { cpu: '50m', memory: '64Mi' } },
    },
    spec: {
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'files', persistentVolumeClaim: { claimName: 'disk' } },
      ],
    },
  });
  await node.untilPod('busy', 'runs', isRunning);
});

/** Over the image, into a volume of the pod, and into one that it claims. */
const writtenMebibytes = [8, 4, 6];
const diskMebibytes = 16;

/** A claim that is bound to a file system of its own. */
async function claimDisk(): Promise<void> {
  const path = join(node.machine.folder, 'disk');
  mkdirSync(path);
  node.machine.run('mount', '-t', 'tmpfs', '-o', `size=${diskMebibytes}m`, 'tmpfs', path);
  const { control } = node.cluster;
  const accessModes = ['ReadWriteOnce'];
  const storage = { storage: `${diskMebibytes}Mi` };
  const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: ['n1'] };
  await control.must('POST', '/api/v1/persistentvolumes', {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'disk' },
    spec: {
      capacity: storage,
      accessModes,
      claimRef: { namespace: 'default', name: 'disk' },
      local: { path },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } },
    },
  });
  await control.must('POST', '/api/v1/namespaces/default/persistentvolumeclaims', {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'disk' },
    spec: {
      accessModes,
      resources: { requests: storage },
      storageClassName: '',
      volumeName: 'disk',
    },
  });
}

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
    readonly volume: readonly (Fs & { readonly name: string; readonly pvcRef?: object })[];
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

  it('tells how full the file system is that a claim lies on', async () => {
    const { pod } = await summaryWhen('the pod has written', (seen) =>
      seen.pod.volume.some(({ name, usedBytes }) => name === 'files' && usedBytes >= 6 * mebibyte),
    );
    const files = pod.volume.find(({ name }) => name === 'files');
    expect(files).toMatchObject({
      capacityBytes: diskMebibytes * mebibyte,
      usedBytes: 6 * mebibyte,
      pvcRef: { namespace: 'default', name: 'disk' },
    });
    const lines = (await raw('/metrics')).split('\n');
    const of = '{namespace="default",persistentvolumeclaim="disk"}';
    expect(lines).toContain(`kubelet_volume_stats_capacity_bytes${of} ${16 * mebibyte}`);
    expect(lines).toContain(`kubelet_volume_stats_used_bytes${of} ${6 * mebibyte}`);
    expect(lines).toContain(`kubelet_volume_stats_available_bytes${of} ${10 * mebibyte}`);
    // The folder itself, and the file.
    expect(lines).toContain(`kubelet_volume_stats_inodes_used${of} 2`);
    expect(lines.filter((line) => line.startsWith('kubelet_volume_stats_'))).toHaveLength(6);
  });

  it('counts and times volumes and cgroups', async () => {
    const lines = (await raw('/metrics')).split('\n');
    const of = 'operation_name="volume_mount",migrated="false",status="success"';
    for (const plugin of ['empty-dir', 'local-volume', 'projected']) {
      const name = `"kubernetes.io/${plugin}"`;
      const total = `volume_manager_total_volumes{plugin_name=${name},state=`;
      expect(lines).toContain(`${total}"desired_state_of_world"} 1`);
      expect(lines).toContain(`${total}"actual_state_of_world"} 1`);
      const timed = `storage_operation_duration_seconds_count{volume_plugin=${name},${of}}`;
      const [count = '', ...others] = lines.filter((line) => line.startsWith(timed));
      expect(others).toEqual([]);
      expect(Number(count.split(' ').at(-1))).toBeGreaterThan(0);
    }
    const cgroups = 'kubelet_cgroup_manager_duration_seconds_count{operation_type="create"}';
    const made = lines.find((line) => line.startsWith(cgroups)) ?? '';
    // That of the pod; those of the classes stand from an earlier node of this name.
    expect(Number(made.split(' ').at(-1))).toBeGreaterThanOrEqual(1);
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
