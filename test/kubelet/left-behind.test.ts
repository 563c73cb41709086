// Nothing is left behind: of a pod whose manifest is removed (no API server), and of a node that is switched off.
import { existsSync, readFileSync, readdirSync, writeFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { labels } from '../../src/kubelet/runtime/labels.ts';
import { listCgroups } from './cgroups.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletProcess, testCgroup } from './kubelet-process.ts';
import { NodeMachine, makeFabric, run, until } from './node-machine.ts';

const node = new NodeMachine('n1', 1);
const kubelet = new KubeletProcess(node);
const manifest = join(kubelet.manifests, 'web.yaml');

const web = `apiVersion: v1
kind: Pod
metadata: { name: web }
spec:
  terminationGracePeriodSeconds: 1
  volumes:
    - name: memory
      emptyDir: { medium: Memory }
  containers:
    - name: main
      image: docker.io/local/busybox:1
      command: [sh, -c, 'sleep 1000']
      volumeMounts: [{ name: memory, mountPath: /memory }]
`;

beforeAll(async () => {
  makeFabric();
  await node.start();
  node.importImages(pauseImage(), busyboxImage());
  kubelet.start();
});

afterAll(async () => {
  await node.crash();
  node.remove();
});

function mounts(): readonly string[] {
  const own = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return own.filter((line) => line.includes(node.folder));
}

/** Names of the programs that run anywhere in the sandbox. */
function programs(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/comm`, 'utf8').trim()];
      } catch {
        return [];
      }
    });
}

async function states(): Promise<readonly string[]> {
  const labelSelector = { [labels.managedBy]: node.name };
  const { runtime } = node.connect();
  const { containers } = await runtime.listContainers({ filter: { labelSelector } });
  return containers.map(({ state }) => String(state));
}

/** Below the pods' cgroups, for which a folder is not the node's own. */
function podCgroups(): readonly string[] {
  return listCgroups(testCgroup).filter((path) => /pod[0-9a-f]{32}/.test(path));
}

function podFolders(): readonly string[] {
  const folder = join(node.folder, 'kubelet/pods');
  return existsSync(folder) ? readdirSync(folder) : [];
}

function nodeMounts(): string {
  return node.run('cat', '/proc/self/mountinfo');
}

describe('a static pod', () => {
  it('runs without an API server, and leaves no container, folder, mount or cgroup when its manifest is gone', async () => {
    writeFileSync(manifest, web);
    await kubelet.until('it runs', async () => (await states()).join() === '1');
    expect(podFolders()).toHaveLength(1);
    expect(podCgroups().length).toBeGreaterThan(0);
    expect(nodeMounts()).toContain('empty-dir/memory');
    rmSync(manifest);
    await kubelet.until('no container runs', async () => !(await states()).includes('1'));
    await kubelet.until('no folder of it is there', () => podFolders().length === 0);
    await kubelet.until('no cgroup of it is there', () => podCgroups().length === 0);
    expect(nodeMounts()).not.toContain('empty-dir/memory');
  });
});

describe('a node that is switched off', () => {
  it('leaves no process, mount, link or used cgroup', async () => {
    writeFileSync(manifest, web);
    await kubelet.until('a pod runs', async () => (await states()).includes('1'));
    expect(programs()).toContain('containerd');
    await node.crash();
    await until('its processes are gone', () => {
      const left = programs().filter((name) => /containerd|runc|pause|busybox|sleep/.test(name));
      return left.length === 0;
    });
    expect(mounts()).toEqual([]);
    await until('its link is gone', () => !run('ip', '-o', 'link').includes('v-n1'));
    for (const path of listCgroups(testCgroup)) {
      expect(readFileSync(join(path, 'cgroup.procs'), 'utf8')).toBe('');
    }
  });
});
