// Pods that come and go leave memory, descriptors, mounts, cgroups, namespaces, processes, links, addresses, folders, watches and metrics where they were. LEAK_PODS: how many; 20 by default.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ContainerState } from '../../src/kubelet/cri/gen/api_pb.ts';
import { labels } from '../../src/kubelet/runtime/labels.ts';
import { isReady } from './contract/test-pod.ts';
import type { ApiPod } from './contract/test-pod.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { podsPath } from './kubectl-node.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { KubeletProcess } from './kubelet-process.ts';
import { letPass } from './leak-measure.ts';
import type { Counts, PassingPods } from './leak-measure.ts';
import { NodeMachine, makeFabric } from './node-machine.ts';

const count = Number(process.env['LEAK_PODS'] ?? 20);
const mib = 1024 ** 2;

const alone = new NodeMachine('alone', 9);
const configuration = { makeIPTablesUtilChains: false, registryPullQPS: 0 };
const standalone = new KubeletProcess(alone, {
  configuration: { ...configuration, fileCheckFrequency: '1s' },
});
/** One for all that is asked: this test keeps nothing open either. */
const { runtime } = alone.connect();
const cluster = new KubeletCluster(['n1']);
const [node = expect.fail()] = cluster.nodes;
let kubelet: KubeletProcess;

beforeAll(async () => {
  makeFabric();
  await alone.start();
  alone.importImages(pauseImage(), busyboxImage());
  standalone.start();
  await cluster.start([pauseImage(), busyboxImage()]);
  kubelet = cluster.kubelet(node, { configuration });
  kubelet.start();
  await kubelet.until('there is a default account', async () => cluster.hasAccount());
});

afterAll(async () => {
  await kubelet.stop();
  await cluster.stop();
  await standalone.stop();
  await alone.crash();
  alone.remove();
});

const numbered = (first: number, howMany: number): readonly string[] =>
  Array.from({ length: howMany }, (_, at) => `leak-${first + at}`);

/** With what leaves traces: a mount, a folder, a cgroup, an address, a probe that runs. */
const main = {
  name: 'main',
  image: 'local/busybox:1',
  imagePullPolicy: 'Never',
  command: ['sh', '-c', 'trap "exit 0" TERM; echo up; httpd -f -p 8080 -h /www & wait'],
  readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
};
const kept = [
  { name: 'memory', mountPath: '/memory' },
  { name: 'disk', mountPath: '/disk/a', subPath: 'a' },
];
const keeps = [
  { name: 'memory', emptyDir: { medium: 'Memory' } },
  { name: 'disk', emptyDir: {} },
];
const terminationGracePeriodSeconds = 1;

/** Whether so many containers run. */
function runs(howMany: number): () => Promise<boolean> {
  const filter = { labelSelector: { [labels.managedBy]: alone.name } };
  return async () => {
    const { containers } = await runtime.listContainers({ filter });
    return (
      containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING).length ===
      howMany
    );
  };
}

const staticPods: PassingPods = {
  kubelet: standalone,
  async come(first, howMany) {
    const containers = [{ ...main, volumeMounts: kept }];
    for (const name of numbered(first, howMany)) {
      const spec = { terminationGracePeriodSeconds, volumes: keeps, containers };
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec };
      standalone.writeManifest(`${name}.json`, JSON.stringify(pod));
    }
    await standalone.until(`pods from ${first} on run`, runs(howMany), 90);
  },
  async go(first, howMany) {
    for (const name of numbered(first, howMany)) rmSync(join(standalone.manifests, `${name}.json`));
    await standalone.until(`pods from ${first} on have ended`, runs(0), 90);
  },
};

const inNamespace = '/api/v1/namespaces/default';

/** A token, and a Secret and a ConfigMap of its own as files and in the environment. */
async function make(name: string): Promise<void> {
  const { control } = cluster;
  const metadata = { name, labels: { part: 'leaks' } };
  const [secret, configMap] = [{ secretName: name }, { name }];
  const data = { key: Buffer.from(name).toString('base64') };
  await control.must('POST', `${inNamespace}/secrets`, { metadata, data });
  await control.must('POST', `${inNamespace}/configmaps`, { metadata, data: { key: name } });
  const container = {
    ...main,
    env: [{ name: 'KEY', valueFrom: { secretKeyRef: { name, key: 'key' } } }],
    livenessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1, failureThreshold: 30 },
    volumeMounts: [
      ...kept,
      { name: 'secret', mountPath: '/secret' },
      { name: 'config', mountPath: '/config' },
      { name: 'config', mountPath: '/key', subPath: 'key' },
    ],
  };
  const volumes = [...keeps, { name: 'secret', secret }, { name: 'config', configMap }];
  const spec = { nodeName: node.name, terminationGracePeriodSeconds, volumes };
  await control.must('POST', podsPath, { metadata, spec: { ...spec, containers: [container] } });
}

async function placed(): Promise<readonly ApiPod[]> {
  const found = await cluster.get<{ items: ApiPod[] }>(`${podsPath}?labelSelector=part=leaks`);
  return found?.items ?? expect.fail('no list of pods');
}

async function noneIsPlaced(): Promise<boolean> {
  return (await placed()).length === 0;
}

async function remove(path: string, name: string): Promise<void> {
  await cluster.control.must('DELETE', `${path}/${name}`);
}

async function text(path: string): Promise<string> {
  const answer = await cluster.control.request('GET', path);
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.text}`);
  return answer.text;
}

/** Watches that the API server serves, to whomever: those of others stay as they are. */
async function watches(): Promise<number> {
  const open = /^apiserver_longrunning_requests\{.*verb="WATCH".*\} (?<count>\d+)$/gm;
  const all = [...(await text('/metrics')).matchAll(open)];
  return all.reduce((sum, { groups }) => sum + Number(groups?.['count']), 0);
}

/** Lines of a page of the agent's metrics that name a pod of this test. */
async function namingLines(path: string): Promise<readonly string[]> {
  const page = await text(`/api/v1/nodes/${node.name}/proxy${path}`);
  return page.split('\n').filter((line) => line.includes('leak-'));
}

async function seen(): Promise<Counts> {
  return {
    watches: await watches(),
    'series of probes': (await namingLines('/metrics/probes')).length,
    'series of containers': (await namingLines('/metrics/cadvisor')).length,
  };
}

const apiPods = (): PassingPods => ({
  kubelet,
  async come(first, howMany) {
    await Promise.all(numbered(first, howMany).map(make));
    const all = async (): Promise<boolean> =>
      (await placed()).filter(({ status }) => isReady(status)).length === howMany;
    await kubelet.until(`pods from ${first} on are ready`, all, 90);
  },
  async go(first, howMany) {
    const names = numbered(first, howMany);
    await Promise.all(names.map(async (name) => remove(podsPath, name)));
    await kubelet.until(`pods from ${first} on are gone`, noneIsPlaced, 90);
    for (const kind of ['secrets', 'configmaps'])
      await Promise.all(names.map(async (name) => remove(`${inNamespace}/${kind}`, name)));
  },
  count: seen,
});

/**
 * The heap breathes by some megabytes: of 300 pods the second half added 1.9 MiB from manifests and 4.6 MiB from an API server, after 13 and 14
 * of the first. And of the latest 4,096 Events it is remembered that they were told: 10 KiB a pod, up to some 700 pods.
 */
const mostGrown = (pods: number): number => 15 * mib + pods * 10 * 1024;

describe.concurrent(`${count} pods leave nothing`, { timeout: 300_000 + count * 6000 }, () => {
  it.for([
    ['from manifests, without an API server', () => staticPods],
    ['from an API server', apiPods],
  ] as const)('%s', async ([from, pods]) => {
    const { unseen, left, descriptors, grownBytes } = await letPass(pods(), count);
    const last = grownBytes.at(-1) ?? NaN;
    const grown = grownBytes.map((bytes) => `${(bytes / mib).toFixed(1)} MiB`).join(', then ');
    process.stderr.write(
      `${count} pods ${from}: ${grown} more; ${descriptors.join(' → ')} descriptors\n`,
    );
    expect({ unseen, left }).toEqual({ unseen: [], left: [] });
    // The first half also made what is made once, such as code that is compiled.
    expect(last).toBeLessThan(mostGrown(count / grownBytes.length));
    // Nor does this page name those that are there: for that there are others.
    expect(await namingLines('/metrics')).toEqual([]);
  });
});
