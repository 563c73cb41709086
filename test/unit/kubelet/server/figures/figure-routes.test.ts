// What the metrics server, `kubectl top`, dashboards and others read of a node: paths, names, shapes and moments.
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KubeletServerOptions } from '../../../../../src/kubelet/server/server.ts';
import { figures } from '../../stats/figures.ts';
import { ask, askPlainly, byCertificate, here, ServerLab } from '../server-lab.ts';

let lab: ServerLab;

beforeEach(async () => {
  lab = await ServerLab.open();
});

afterEach(async () => {
  await lab.close();
});

const usages = new Map([
  [
    'uid-1',
    {
      uid: 'uid-1',
      namespace: 'shop',
      name: 'web',
      memoryBytes: 150,
      processes: 3,
      containers: new Map([
        [
          'app',
          { memoryBytes: 100, layer: { bytes: 30, inodes: 3 }, logs: { bytes: 20, inodes: 2 } },
        ],
      ]),
      volumes: new Map([
        ['data', { bytes: 50, inodes: 5, inMemory: false }],
        ['cache', { bytes: 70, inodes: 7, inMemory: true }],
      ]),
      disk: { bytes: 100, inodes: 10 },
    },
  ],
]);

const claims = [
  {
    uid: 'uid-1',
    volume: 'files',
    namespace: 'shop',
    claim: 'files-web-0',
    path: '/disk',
    space: { bytes: 800, availableBytes: 300, usedBytes: 450, inodes: 80, freeInodes: 70 },
  },
];

const runtime = {
  containers: new Map([
    ['a', { writableLayer: { usedBytes: { value: 30n }, inodesUsed: { value: 3n } } } as never],
  ]),
  sandboxes: new Map(),
};

const measured: Partial<KubeletServerOptions> = {
  stats: () => ({
    figures: async () => Promise.resolve(figures),
    podUsages: async () => Promise.resolve(usages),
    claims: async () => Promise.resolve(claims),
    runtime: async () => Promise.resolve(runtime),
  }),
};

const silent: Partial<KubeletServerOptions> = {
  stats: () => ({
    figures: async () => Promise.reject(new Error('away')),
    podUsages: async () => Promise.reject(new Error('away')),
    claims: async () => Promise.resolve([]),
    runtime: async () => Promise.reject(new Error('away')),
  }),
};

function samples(body: string): readonly string[] {
  return body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

test('the metrics server finds the node, pods and containers, each at its own moment', async () => {
  const { port } = await lab.served({}, measured);
  const { status, body, type } = await ask(port, '/metrics/resource');
  expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  const of = 'namespace="shop",pod="web"';
  expect(samples(body)).toEqual([
    `container_cpu_usage_seconds_total{container="app",${of}} 1.5 7000`,
    `container_memory_working_set_bytes{container="app",${of}} 100 7000`,
    `container_swap_usage_bytes{container="app",${of}} 3 7000`,
    `container_start_time_seconds{container="app",${of}} 2.5 7000`,
    'node_cpu_usage_seconds_total 10 7000',
    'node_memory_working_set_bytes 2048 7000',
    'node_swap_usage_bytes 3 7000',
    `pod_cpu_usage_seconds_total{${of}} 2 7000`,
    `pod_memory_working_set_bytes{${of}} 150 7000`,
    `pod_swap_usage_bytes{${of}} 3 7000`,
    'resource_scrape_error 0',
  ]);
  const counters = body.split('\n').filter((line) => /^# TYPE \S+ counter$/.test(line));
  expect(counters.map((line) => line.split(' ')[2])).toEqual([
    'container_cpu_usage_seconds_total',
    'node_cpu_usage_seconds_total',
    'pod_cpu_usage_seconds_total',
  ]);
});

test('a runtime that does not answer is an error that is told, and no answer of zeros', async () => {
  const { port } = await lab.served({}, silent);
  expect(samples((await ask(port, '/metrics/resource')).body)).toEqual(['resource_scrape_error 1']);
  const dashboards = samples((await ask(port, '/metrics/cadvisor')).body);
  expect(dashboards).toContain('container_scrape_error 1');
  expect(dashboards.filter((line) => line.startsWith('container_cpu'))).toEqual([]);
  expect(await ask(port, '/stats/summary')).toMatchObject({ status: 500 });
  const early = await lab.served();
  expect(samples((await ask(early.port, '/metrics/resource')).body)).toEqual([
    'resource_scrape_error 1',
  ]);
  expect(await ask(early.port, '/stats/summary')).toMatchObject({ status: 503 });
});

test('dashboards find their series by cAdvisor’s names and labels', async () => {
  await mkdir(join(lab.folder, 'sys/dev/block'), { recursive: true });
  await symlink('../../devices/virtual/block/vda', join(lab.folder, 'sys/dev/block/8:0'));
  const { port } = await lab.served({}, measured);
  const lines = samples((await ask(port, '/metrics/cadvisor')).body);
  const inGroup = 'namespace="shop",pod="web"';
  const id = 'id="/node-7/kubepods/poduid-1/a"';
  const app = `container="app",${id},image="local/app:1",name="a",${inGroup}`;
  const expected = [
    `container_cpu_usage_seconds_total{${app},cpu="total"} 1.5`,
    `container_cpu_user_seconds_total{${app}} 1`,
    `container_cpu_system_seconds_total{${app}} 0.5`,
    `container_cpu_cfs_periods_total{${app}} 10`,
    `container_cpu_cfs_throttled_periods_total{${app}} 4`,
    `container_cpu_cfs_throttled_seconds_total{${app}} 0.25`,
    `container_memory_usage_bytes{${app}} 110`,
    `container_memory_working_set_bytes{${app}} 100`,
    `container_memory_rss{${app}} 90`,
    `container_memory_cache{${app}} 20`,
    `container_memory_swap{${app}} 3`,
    `container_memory_failcnt{${app}} 7`,
    `container_memory_failures_total{${app},failure_type="pgmajfault",scope="hierarchy"} 1`,
    `container_oom_events_total{${app}} 2`,
    `container_spec_cpu_quota{${app}} 20000`,
    `container_spec_cpu_period{${app}} 100000`,
    `container_spec_cpu_shares{${app}} 512`,
    `container_spec_memory_limit_bytes{${app}} 4096`,
    `container_start_time_seconds{${app}} 2.5`,
    `container_last_seen{${app}} 7`,
    `container_threads{${app}} 3`,
    `container_fs_reads_bytes_total{${app},device="/dev/vda"} 4096`,
    `container_fs_writes_total{${app},device="/dev/vda"} 1`,
    `container_fs_usage_bytes{${app},device=""} 30`,
  ];
  for (const each of expected) expect(lines).toContain(`${each} 7000`);
  const sandbox = `container="",id="/node-7/kubepods/poduid-1/box",image="",name="box",${inGroup}`;
  const network = lines.filter((line) => line.startsWith('container_network_'));
  expect(network).toHaveLength(8);
  expect(network).toContain(
    `container_network_receive_packets_dropped_total{${sandbox},interface="eth0"} 14 7000`,
  );
  const nobody = 'image="",name="",namespace="",pod=""';
  expect(lines).toContain(
    `container_cpu_usage_seconds_total{container="",id="/",${nobody},cpu="total"} 10 9000`,
  );
  expect(lines).toContain(
    `container_memory_working_set_bytes{container="",id="/node-7/kubepods/poduid-1",image="",name="",${inGroup}} 150 7000`,
  );
  const disk = `container="",id="/",${nobody},device=""`;
  expect(lines.filter((line) => line.startsWith(`container_fs_usage_bytes{${disk}`))).toEqual([
    `container_fs_usage_bytes{${disk}} 500 9000`,
  ]);
  expect(lines).toContain(`container_fs_limit_bytes{${disk}} 1000 9000`);
  const machine = '{boot_id="b",machine_id="m",system_uuid="s"}';
  expect(lines).toContain(`machine_cpu_cores${machine} 2`);
  expect(lines).toContain(`machine_memory_bytes${machine} 4096`);
  expect(lines).toContain(`machine_swap_bytes${machine} 1024`);
});

const cpu = (ns: number): object => ({
  time: '1970-01-01T00:00:07Z',
  usageNanoCores: 250_000_000,
  usageCoreNanoSeconds: ns,
});
const memory = (bytes: number): object => ({
  time: '1970-01-01T00:00:07Z',
  usageBytes: bytes + 10,
  workingSetBytes: bytes,
  rssBytes: bytes - 10,
  pageFaults: 5,
  majorPageFaults: 1,
});
const at = (seconds: number): string => `1970-01-01T00:00:0${seconds}Z`;

test('a summary has the node, its own parts, and pods with their containers and disks', async () => {
  const { port } = await lab.served({}, measured);
  const { body } = await ask(port, '/stats/summary');
  const { node, pods } = JSON.parse(body) as { node: object; pods: object[] };
  const fs = { availableBytes: 400, capacityBytes: 1000, inodes: 100, inodesFree: 60 };
  expect(node).toMatchObject({
    nodeName: 'n1',
    startTime: at(1),
    systemContainers: [
      { name: 'kubelet', startTime: at(2), cpu: cpu(2e9) },
      { name: 'pods', memory: { workingSetBytes: 100, availableBytes: 3996 } },
    ],
    cpu: cpu(10e9),
    memory: { ...memory(2048), availableBytes: 512 },
    fs: { time: at(9), ...fs, usedBytes: 600, inodesUsed: 40 },
    runtime: { imageFs: { ...fs, usedBytes: 300, inodesUsed: 20 } },
    rlimit: { time: at(9), maxpid: 32_768, curproc: 200 },
  });
  expect(pods).toEqual([
    {
      podRef: { name: 'web', namespace: 'shop', uid: 'uid-1' },
      startTime: at(2),
      containers: [
        {
          name: 'app',
          startTime: at(2),
          cpu: cpu(1.5e9),
          memory: memory(100),
          rootfs: { time: at(7), ...fs, usedBytes: 30, inodesUsed: 3 },
          logs: { time: at(7), ...fs, usedBytes: 20, inodesUsed: 2 },
        },
      ],
      cpu: cpu(2e9),
      memory: memory(150),
      network: {
        time: at(7),
        name: 'eth0',
        rxBytes: 11,
        rxErrors: 13,
        txBytes: 21,
        txErrors: 23,
        interfaces: [{ name: 'eth0', rxBytes: 11, rxErrors: 13, txBytes: 21, txErrors: 23 }],
      },
      volume: [
        { time: at(7), ...fs, usedBytes: 50, inodesUsed: 5, name: 'data' },
        { time: at(7), usedBytes: 70, inodesUsed: 7, name: 'cache' },
        {
          time: at(7),
          availableBytes: 300,
          capacityBytes: 800,
          usedBytes: 450,
          inodes: 80,
          inodesFree: 70,
          inodesUsed: 10,
          name: 'files',
          pvcRef: { name: 'files-web-0', namespace: 'shop' },
        },
      ],
      'ephemeral-storage': { time: at(7), ...fs, usedBytes: 100, inodesUsed: 10 },
      process_stats: { process_count: 3 },
    },
  ]);
});

test('a summary of CPU and memory alone looks at no disk', async () => {
  const { port } = await lab.served(
    {},
    {
      stats: () => ({
        figures: async () => Promise.resolve(figures),
        podUsages: async () => Promise.reject(new Error('disks were looked at')),
        claims: async () => Promise.reject(new Error('disks were looked at')),
        runtime: async () => Promise.reject(new Error('the runtime was asked')),
      }),
    },
  );
  const asked = await ask(port, '/stats/summary?only_cpu_and_memory=true', {
    ...byCertificate,
    method: 'POST',
  });
  expect(asked.status).toBe(200);
  const { node, pods } = JSON.parse(asked.body) as { node: object; pods: object[] };
  expect(Object.keys(node)).toEqual(['nodeName', 'systemContainers', 'startTime', 'cpu', 'memory']);
  expect(Object.keys(pods[0] ?? {})).toEqual([
    'podRef',
    'startTime',
    'containers',
    'cpu',
    'memory',
  ]);
});

test('the read-only port shows figures too, and not the configuration', async () => {
  const port = await lab.freePort();
  const { port: main } = await lab.served({ readOnly: here(port) }, measured);
  for (const path of [
    '/stats/summary',
    '/metrics/resource',
    '/metrics/cadvisor',
    '/metrics/probes',
  ]) {
    expect([path, (await askPlainly(port, path))[0]]).toEqual([path, 200]);
  }
  for (const path of ['/configz', '/logs/', '/attach/shop/web/app', '/portForward/shop/web']) {
    expect([path, (await askPlainly(port, path))[0]]).toEqual([path, 404]);
  }
  expect(JSON.parse((await ask(main, '/configz')).body)).toEqual({
    kubeletconfig: { maxPods: 7 },
  });
});

test.each(['/stats/', '/stats/container', '/stats/summary/more', '/metrics/cadvisor/x'])(
  '%s is not there',
  async (path) => {
    const { port } = await lab.served({}, measured);
    expect(await ask(port, path)).toMatchObject({ status: 404 });
  },
);
