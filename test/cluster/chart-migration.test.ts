// Node by node from kube-proxy to the chart and back, and a new version of the chart: what real controllers and a real scheduler do.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetworkNamespace } from '../support/network-namespace.ts';
import { eventually } from '../support/node-lab.ts';
import { outsideTool } from '../support/outside-tools.ts';
import { ControlPlane } from './control-plane.ts';
import { HelmCluster } from './helm-cluster.ts';
import { PodKeeper, isReady } from './pod-keeper.ts';
import type { PlacedPod } from './pod-keeper.ts';

const [helm, kubectl] = await Promise.all([outsideTool('helm'), outsideTool('kubectl')]);
const blocked =
  ControlPlane.blocked() ??
  ('missing' in helm ? helm.missing : 'missing' in kubectl ? kubectl.missing : undefined);

const nodes = ['node-a', 'node-b', 'node-c'];
const values = { apiServer: { host: '192.0.2.10' }, minReadySeconds: 0 };

/** As kubeadm writes it, as far as placing goes. */
const kubeProxy = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'kube-proxy', namespace: 'kube-system', labels: { 'k8s-app': 'kube-proxy' } },
  spec: {
    selector: { matchLabels: { 'k8s-app': 'kube-proxy' } },
    template: {
      metadata: { labels: { 'k8s-app': 'kube-proxy' } },
      spec: {
        hostNetwork: true,
        nodeSelector: { 'kubernetes.io/os': 'linux' },
        priorityClassName: 'system-node-critical',
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: 'kube-proxy', image: 'kube-proxy:v1.37.2' }],
      },
    },
  },
};

type Proxy = 'kube-proxy' | 'switchyard';

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function proxyOf({ metadata: { labels } }: PlacedPod): Proxy {
  return labels['k8s-app'] === 'kube-proxy' ? 'kube-proxy' : 'switchyard';
}

describe.skipIf(blocked !== undefined)(
  `from kube-proxy to the chart, node by node${blocked ? ` (${blocked})` : ''}`,
  () => {
    let network: NetworkNamespace;
    let plane: ControlPlane;
    let cluster: HelmCluster;
    let keeper: PodKeeper;
    let notes = '';

    beforeAll(async () => {
      network = await NetworkNamespace.create('192.0.2.10');
      plane = new ControlPlane({ namespace: network.name, address: '192.0.2.10' });
      await plane.start();
      plane.startControllers(['daemonset-controller', 'serviceaccount-controller']);
      cluster = new HelmCluster(plane, {
        helm: 'path' in helm ? helm.path : '',
        kubectl: 'path' in kubectl ? kubectl.path : '',
      });
      keeper = new PodKeeper(plane);
      for (const node of nodes) await keeper.addNode(node);
      await plane.must('POST', '/apis/apps/v1/namespaces/kube-system/daemonsets', kubeProxy);
      await placed({ 'node-a': 'kube-proxy', 'node-b': 'kube-proxy', 'node-c': 'kube-proxy' });
    });

    afterAll(async () => {
      await plane?.stop();
      await network?.close();
    });

    /** Waits until each node has one proxy, ready, and no other pod is there or waits. At no time has a node both proxies. */
    async function placed(expected: Readonly<Record<string, Proxy>>): Promise<void> {
      await eventually(
        async () => {
          const pods = await keeper.step();
          const seen = pods.map((pod) => [
            pod.spec.nodeName ?? 'none',
            proxyOf(pod),
            isReady(pod) && pod.metadata.deletionTimestamp === undefined,
          ]);
          const kinds = new Map<unknown, unknown>();
          for (const [node, proxy] of seen) {
            if (node === 'none') continue;
            expect(
              kinds.get(node) ?? proxy,
              `two proxies on ${node}: ${JSON.stringify(seen)}`,
            ).toBe(proxy);
            kinds.set(node, proxy);
          }
          return seen.map((each) => each.join(' ')).toSorted(byText);
        },
        (seen) =>
          seen.join() ===
          Object.entries(expected)
            .map((each) => `${each.join(' ')} true`)
            .join(),
        60_000,
      );
    }

    /** A command of the notes, with the node of one's choice. */
    function command(words: RegExp, node = ''): string {
      const line = notes.split('\n').find((each) => words.test(each));
      if (line === undefined) throw new Error(`the notes have no ${words.source}: ${notes}`);
      return line.replace('NODE', node);
    }

    it('the chart installed for chosen nodes changes none of them', async () => {
      notes = await cluster.install({ ...values, sideBySide: { enabled: true } });
      await cluster.kubectl(command(/kubectl -n kube-system patch daemonset kube-proxy/));
      await placed({ 'node-a': 'kube-proxy', 'node-b': 'kube-proxy', 'node-c': 'kube-proxy' });
    });

    it('a chosen node gets an agent, but not before its kube-proxy has gone', async () => {
      keeper.lets = 'stay';
      await cluster.kubectl(command(/kubectl label node NODE .*=/, 'node-b'));
      const [waiting] = await eventually(
        async () => (await keeper.step()).filter((pod) => proxyOf(pod) === 'switchyard'),
        (pods) => pods.length === 1 && /anti-affinity/.test(JSON.stringify(pods[0]?.status)),
        30_000,
      );
      expect(waiting?.spec.nodeName).toBeUndefined();
      keeper.lets = 'end';
      await placed({ 'node-a': 'kube-proxy', 'node-b': 'switchyard', 'node-c': 'kube-proxy' });
    });

    it('and goes back to kube-proxy, once its agent has gone', async () => {
      await cluster.kubectl(command(/kubectl label node NODE .*-$/, 'node-b'));
      await placed({ 'node-a': 'kube-proxy', 'node-b': 'kube-proxy', 'node-c': 'kube-proxy' });
    });

    it('when all are chosen kube-proxy can go, and the choice with it', async () => {
      for (const node of nodes) await cluster.kubectl(command(/kubectl label node NODE .*=/, node));
      await placed({ 'node-a': 'switchyard', 'node-b': 'switchyard', 'node-c': 'switchyard' });
      await cluster.kubectl('kubectl -n kube-system delete daemonset kube-proxy');
      await cluster.install(values);
      await placed({ 'node-a': 'switchyard', 'node-b': 'switchyard', 'node-c': 'switchyard' });
    });

    it('a new version replaces one agent after the other', async () => {
      await cluster.install({ ...values, image: { tag: 'next' } });
      let fewest = nodes.length;
      await eventually(
        async () => {
          const pods = await keeper.step();
          fewest = Math.min(fewest, pods.filter(isReady).length);
          return pods.filter((pod) => isReady(pod)).map((pod) => pod.spec.containers[0]?.image);
        },
        (images) =>
          images.length === nodes.length && images.every((each) => each?.endsWith(':next')),
        60_000,
      );
      expect(fewest).toBeGreaterThanOrEqual(nodes.length - 1);
    });

    it('a second release on the same nodes waits: its ports are taken', async () => {
      const other = { ...kubeProxy, metadata: { ...kubeProxy.metadata, name: 'other' } };
      const ports = [{ containerPort: 10_256 }];
      const containers = [{ name: 'other', image: 'other', ports }];
      const template = {
        ...other.spec.template,
        spec: { ...other.spec.template.spec, containers },
      };
      const path = '/apis/apps/v1/namespaces/kube-system/daemonsets';
      await plane.must('POST', path, { ...other, spec: { ...other.spec, template } });
      await eventually(
        async () => (await keeper.step()).filter((pod) => pod.spec.nodeName === undefined),
        (waiting) => waiting.length === nodes.length && /free ports/.test(JSON.stringify(waiting)),
        30_000,
      );
    });
  },
);
