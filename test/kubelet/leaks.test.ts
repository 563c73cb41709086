// Pods that come and go leave memory, descriptors, mounts, cgroups, namespaces, links, addresses and folders where they were. LEAK_PODS: how many; 20 by default.
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { labels } from '../../src/kubelet/runtime/labels.ts';
import { listCgroups } from './cgroups.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletProcess, testCgroup } from './kubelet-process.ts';
import { NodeMachine, makeFabric, until } from './node-machine.ts';

const pods = Number(process.env['LEAK_PODS'] ?? 20);
const atOnce = 10;
const mib = 1024 ** 2;
const node = new NodeMachine('n1', 1);
const kubelet = new KubeletProcess(node, {
  configuration: {
    fileCheckFrequency: '1s',
    makeIPTablesUtilChains: false,
    registryPullQPS: 0,
  },
});

/** One for all that is asked: this test keeps nothing open either. */
const { runtime } = node.connect();

beforeAll(async () => {
  makeFabric();
  await node.start();
  node.importImages(pauseImage(), busyboxImage());
  kubelet.start();
});

afterAll(async () => {
  await kubelet.stop();
  await node.crash();
  node.remove();
});

/** With what leaves traces: a mount, a folder, a cgroup, an address, a probe that runs. */
function manifest(name: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 1,
      volumes: [
        { name: 'memory', emptyDir: { medium: 'Memory' } },
        { name: 'disk', emptyDir: {} },
      ],
      containers: [
        {
          name: 'main',
          image: 'local/busybox:1',
          imagePullPolicy: 'Never',
          command: ['sh', '-c', 'trap "exit 0" TERM; echo up; sleep 100000 & wait'],
          readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
          volumeMounts: [
            { name: 'memory', mountPath: '/memory' },
            { name: 'disk', mountPath: '/disk/a', subPath: 'a' },
          ],
        },
      ],
    },
  });
}

async function sandboxes(): Promise<number> {
  const labelSelector = { [labels.managedBy]: node.name };
  const { items } = await runtime.listPodSandbox({ filter: { labelSelector } });
  return items.length;
}

async function containers(): Promise<readonly string[]> {
  const labelSelector = { [labels.managedBy]: node.name };
  const { containers: all } = await runtime.listContainers({
    filter: { labelSelector },
  });
  return all.map(({ state }) => String(state));
}

/** A round of pods, from nothing to nothing. */
async function round(first: number): Promise<void> {
  const names = Array.from({ length: atOnce }, (_, at) => `p${first + at}`);
  for (const name of names) kubelet.writeManifest(`${name}.json`, manifest(name));
  const all = async (): Promise<boolean> =>
    (await containers()).filter((state) => state === '1').length === atOnce;
  await kubelet.until(`pods from ${first} on run`, all, 90);
  for (const name of names) rmSync(join(kubelet.manifests, `${name}.json`));
  await kubelet.until(
    `pods from ${first} on have ended`,
    async () => !(await containers()).includes('1'),
    90,
  );
}

/** What is left of pods that have ended is collected once a minute. */
async function collected(): Promise<void> {
  await kubelet.until('all pods are gone', async () => (await sandboxes()) === 0, 150);
}

const names = (folder: string): number => (existsSync(folder) ? readdirSync(folder).length : 0);
const lines = (...command: readonly string[]): number =>
  node
    .run(...command)
    .split('\n')
    .filter(Boolean).length;

/** What there is of all that could be left. */
function left(): Readonly<Record<string, number>> {
  const proc = `/proc/${kubelet.pid}`;
  return {
    mounts: readFileSync(`${proc}/mountinfo`, 'utf8').split('\n').length,
    cgroups: listCgroups(testCgroup).filter((path) => /pod[0-9a-f]{32}/.test(path)).length,
    'network namespaces': lines('sh', '-c', 'ls /run/netns'),
    links: lines('ip', '-o', 'link'),
    addresses: node
      .run('sh', '-c', `ls ${node.folder}/cni-data/pods`)
      .split('\n')
      .filter((name) => /^\d/.test(name)).length,
    'folders of pods': names(join(node.folder, 'kubelet/pods')),
    'folders of logs': lines('sh', '-c', 'ls /var/log/pods'),
    'links to logs': lines('sh', '-c', 'ls /var/log/containers'),
    'containers’ keepers': Number(
      node.run('sh', '-c', 'ps -e -o comm= | grep -c ^containerd-shim || true'),
    ),
  };
}

/** Open files settle as keep-alives end. */
const descriptors = (): number => readdirSync(`/proc/${kubelet.pid}/fd`).length;

function residentBytes(): number {
  const status = readFileSync(`/proc/${kubelet.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN) * 1024;
}

it(
  `${pods} pods leave nothing`,
  async () => {
    await kubelet.until('the kubelet has started', () => kubelet.log.includes('"started"'));
    // What is made once, such as the bridge, and code that is compiled.
    await round(0);
    await round(atOnce);
    await collected();
    const usual = { left: left(), descriptors: descriptors(), bytes: residentBytes() };
    for (let first = 2 * atOnce; first < 2 * atOnce + pods; first += atOnce) await round(first);
    await collected();
    // Something of the first rounds may still have been on its way out.
    const more = (): readonly string[] =>
      Object.entries(left()).flatMap(([what, count]) => {
        const before = usual.left[what] ?? 0;
        return count > before ? [`${count} ${what}, ${before} before`] : [];
      });
    await until('nothing is more than it was', () => more().length === 0, 60).catch(() => {});
    expect(more()).toEqual([]);
    await kubelet.until('descriptors are closed', () => descriptors() <= usual.descriptors + 2);
    expect(await containers()).toEqual([]);
    const grown = (residentBytes() - usual.bytes) / mib;
    process.stderr.write(
      `${pods} pods: ${grown.toFixed(1)} MiB more resident, ${descriptors()} descriptors\n`,
    );
    // The heap breathes by some megabytes; 50 KiB of each pod, of 1,000, would show.
    expect(grown).toBeLessThan(15 + pods * 0.02);
  },
  300_000 + pods * 6000,
);
