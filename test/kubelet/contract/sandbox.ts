/** What the runtime is asked for: namespaces, names, DNS, limits, users, images, and what it is all labelled with. */
import { expect } from 'vitest';
import { annotations, labels } from '../../../src/kubelet/runtime/labels.ts';
import type { Scenario } from './scenario.ts';
import { statusOf } from './test-pod.ts';
import type { TestPod } from './test-pod.ts';
import { forever, one } from './trial.ts';

const noNamespaces = 'its containers have no namespaces';
const hostNetwork = { hostNetwork: true };

/** By keyword, what a pod's resolv.conf says. */
async function resolvConf(pod: TestPod): Promise<Readonly<Record<string, string>>> {
  await pod.running();
  const text = await pod.exec('main', 'cat', '/etc/resolv.conf');
  const lines = text.split('\n').filter((line) => /^(?:search|nameserver|options) /.test(line));
  return Object.fromEntries(
    lines.map((line) => [line.split(' ', 1)[0], line.slice(line.indexOf(' ') + 1).trim()]),
  );
}

/** A docker configuration with what a registry asks for. */
function forRegistry(registry: string): object {
  return { auths: { [registry]: { username: 'me', password: 'hidden' } } };
}

/** What a pull without the right to it comes to: containerd 1.6 says what the registry answers, later ones that there are no credentials. */
const denied = /401 Unauthorized|authorization failed/;

export const sandbox: readonly Scenario[] = [
  {
    number: 40,
    title: 'in the node’s network: the node’s address, and the node’s hosts file',
    async run(trial) {
      const pod = await trial.pod({ ...hostNetwork, ...one(forever) });
      const { address } = trial.world.runtime.node;
      expect(await pod.running()).toMatchObject({ podIP: address, hostIP: address });
      const hosts = await pod.exec('main', 'cat', '/etc/hosts');
      expect(hosts).toMatch(/^# Kubernetes-managed hosts file \(host network\)\.\n/);
      expect(hosts).toContain(trial.world.runtime.node.run('cat', '/etc/hosts').trim());
    },
  },
  {
    number: 41,
    title: 'a container sees its own processes, or all of the pod where that is asked for',
    notInMemory: noNamespaces,
    async run(trial) {
      const own = await trial.pod(one(forever));
      const shared = await trial.pod({ shareProcessNamespace: true, ...one(forever) });
      await own.running();
      await shared.running();
      expect(await own.exec('main', 'cat', '/proc/1/comm')).toBe('sh\n');
      expect(await shared.exec('main', 'cat', '/proc/1/comm')).toBe('pause\n');
    },
  },
  {
    number: 42,
    title: 'a long name is cut for the host name, and ends with no dash',
    async run(trial) {
      const name = `${trial.name().padEnd(62, 'x')}-and-more`;
      const pod = await trial.pod(one(forever), { name });
      await pod.running();
      expect(await pod.exec('main', 'hostname')).toBe(`${name.slice(0, 62)}\n`);
    },
  },
  {
    number: 43,
    title: 'ClusterFirst: the cluster’s name server, and its domains before the node’s',
    async run(trial) {
      expect(await resolvConf(await trial.pod(one(forever)))).toMatchObject({
        nameserver: '10.96.0.10',
        search: expect.stringMatching(
          /^default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/,
        ) as unknown,
        options: 'ndots:5',
      });
    },
  },
  {
    number: 44,
    title: 'DNS policy None: what the pod says, and nothing else',
    async run(trial) {
      const dns = { dnsPolicy: 'None', dnsConfig: { nameservers: ['192.0.2.53'] } };
      expect(await resolvConf(await trial.pod({ ...dns, ...one(forever) }))).toEqual({
        nameserver: '192.0.2.53',
      });
    },
  },
  {
    number: 45,
    title: 'ClusterFirst in the node’s network: the node’s own name servers',
    async run(trial) {
      const { nameserver } = await resolvConf(await trial.pod({ ...hostNetwork, ...one(forever) }));
      const node = trial.world.runtime.node.run('cat', '/etc/resolv.conf');
      expect(node).toContain(`nameserver ${nameserver}`);
    },
  },
  {
    number: 46,
    title: 'limits of CPU and memory are what the kernel holds the container to',
    notInMemory: 'its containers have no cgroups',
    async run(trial) {
      const resources = { limits: { cpu: '500m', memory: '128Mi' } };
      const pod = await trial.pod(one(forever, { resources }));
      const status = await pod.running();
      const id = statusOf(status, 'main')?.containerID?.replace('containerd://', '') ?? '';
      const found = trial.world.runtime.node.run(
        'sh',
        '-c',
        `cat $(find /sys/fs/cgroup -path '*${id}*' -name memory.limit_in_bytes -o -path '*${id}*' -name memory.max)
         cat $(find /sys/fs/cgroup -path '*${id}*' -name cpu.cfs_quota_us -o -path '*${id}*' -name cpu.max)`,
      );
      expect(found).toMatch(/^134217728\n50000\b/);
      expect(status.qosClass).toBe('Guaranteed');
    },
  },
  {
    number: 47,
    title: 'who asks for nothing is the first to go when memory is short',
    notInMemory: 'its containers are no processes',
    async run(trial) {
      const pod = await trial.runningPod();
      expect(await pod.exec('main', 'cat', '/proc/1/oom_score_adj')).toBe('1000\n');
    },
  },
  {
    number: 48,
    title: 'runAsNonRoot, and the image runs as root: no container is made',
    async run(trial) {
      const securityContext = { runAsNonRoot: true };
      const pod = await trial.pod(one(forever, { securityContext }));
      const status = await pod.waiting('CreateContainerConfigError');
      expect(statusOf(status, 'main')?.state.waiting?.message).toContain(
        'container has runAsNonRoot and image will run as root',
      );
      expect(await pod.containers()).toEqual([]);
    },
  },
  {
    number: 49,
    title: 'an image without a tag is that of the tag latest, and pulled for each start',
    async run(trial) {
      const image = trial.offer('tagless:latest').replace(/:latest$/, '');
      const script = `if test -e /kept/ran; then ${forever}; fi; touch /kept/ran; exit 1`;
      const pod = await trial.pod({
        volumes: [{ name: 'kept', emptyDir: {} }],
        ...one(script, { image, volumeMounts: [{ name: 'kept', mountPath: '/kept' }] }),
      });
      await pod.restarted(1);
      await pod.running();
      await pod.event('Pulling', `Pulling image "${image}"`);
      await pod.event(
        'Pulled',
        /^Successfully pulled image "[^"]*tagless" in \S+ \(\S+ including waiting\)\. Image size: \d+ bytes\.$/,
      );
      await pod.until('it was pulled twice', async () => (await pod.told('Pulled')) === 2);
      const { images } = await trial.world.cri.images.listImages({});
      expect(images.flatMap(({ repoTags }) => repoTags)).toContain(`${image}:latest`);
    },
  },
  {
    number: 50,
    title: 'an image that cannot be pulled: ErrImagePull, then ImagePullBackOff, with Events',
    async run(trial) {
      const image = 'registry.invalid/none:1';
      const pod = await trial.pod(one(forever, { image }));
      await pod.waiting('ErrImagePull');
      const status = await pod.waiting('ImagePullBackOff');
      expect(statusOf(status, 'main')?.state.waiting?.message).toContain(
        `Back-off pulling image "${image}"`,
      );
      await pod.event('Pulling', `Pulling image "${image}"`);
      await pod.event('Failed', `Failed to pull image "${image}": `);
      await pod.event('Failed', 'Error: ErrImagePull');
      await pod.event('BackOff', `Back-off pulling image "${image}"`);
    },
  },
  {
    number: 51,
    title: 'an image that is not there and may not be pulled',
    async run(trial) {
      const image = 'docker.io/local/none:1';
      const pod = await trial.pod(one(forever, { image, imagePullPolicy: 'Never' }));
      const status = await pod.waiting('ErrImageNeverPull');
      expect(statusOf(status, 'main')?.state.waiting?.message).toContain(
        `Container image "${image}" is not present with pull policy of Never`,
      );
      const reasons = (await pod.events()).map(({ reason }) => reason);
      expect(reasons).not.toContain('Pulling');
    },
  },
  {
    number: 52,
    title: 'a private registry is asked with what the pod’s secrets and the node have for it alone',
    async run(trial) {
      const image = trial.offer('private:1', { credentials: 'me:hidden' });
      const ofNode = trial.offer('ofnode:1', { credentials: 'me:hidden' });
      const [host = ''] = image.split('/');
      const secret = async (registry: string): Promise<string> =>
        (await trial.pullSecret(forRegistry(registry))).name;
      trial.nodeFile('config.json', JSON.stringify(forRegistry(`${host}/ofnode`)));
      const [right, other] = await Promise.all([secret(host), secret('elsewhere.test')]);
      const pod = async (...names: readonly string[]): Promise<TestPod> =>
        trial.pod({
          imagePullSecrets: names.map((name) => ({ name })),
          ...one(forever, { image, imagePullPolicy: 'Always' }),
        });
      const [good, bad, none] = await Promise.all([
        pod(other, 'missing', right),
        pod(other),
        pod('missing'),
      ]);
      const byNode = await trial.pod(one(forever, { image: ofNode }));
      await byNode.running();
      await good.running();
      await good.event('FailedToRetrieveImagePullSecret', '(missing)');
      for (const each of [bad, none]) {
        await each.event('Failed', denied);
        await each.waiting('ImagePullBackOff');
        expect(await each.containers()).toEqual([]);
      }
      await none.event('FailedToRetrieveImagePullSecret', '(missing)');
    },
  },
  {
    number: 53,
    title: 'sandboxes have the pod’s labels, containers their hash and restart count',
    async run(trial) {
      const pod = await trial.pod(one(forever), { labels: { app: 'web' } });
      await pod.running();
      const own = {
        [labels.podName]: pod.name,
        [labels.podNamespace]: 'default',
        [labels.podUid]: pod.uid,
      };
      const [made] = await pod.sandboxes();
      expect(made?.labels).toMatchObject({ ...own, app: 'web' });
      const [container] = await pod.containers();
      expect(container?.labels).toMatchObject({ ...own, [labels.containerName]: 'main' });
      expect(container?.labels).not.toHaveProperty('app');
      expect(container?.annotations).toMatchObject({ [annotations.restartCount]: '0' });
      expect(container?.annotations[annotations.hash]).toMatch(/^[0-9a-f]+$/);
    },
  },
  {
    number: 95,
    title: 'more CPU than the node has: the pod fails, and never starts',
    async run(trial) {
      const resources = { requests: { cpu: '1000' } };
      const pod = await trial.pod(one(forever, { resources }));
      expect(await pod.phase('Failed')).toMatchObject({ reason: 'OutOfcpu' });
      await pod.event('OutOfcpu');
      expect(await pod.sandboxes()).toEqual([]);
    },
  },
];
