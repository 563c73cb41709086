import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { programImage } from '../images.ts';
import type { BuiltImage } from '../images.ts';
import type { KubectlNode } from '../kubectl-node.ts';
import { metricsServerFolder } from './build.ts';

/** In the sandbox; kustomize wants what it adds to other manifests in a folder of its own. */
const folder = '/run/sy/metrics-server';

const image = { name: 'docker.io/local/metrics-server', tag: '1' };

/** For nodes: the metrics server that was built, in an image of its own. */
export function metricsServerImage(): BuiltImage {
  return programImage(`${image.name}:${image.tag}`, join(metricsServerFolder, 'metrics-server'));
}

/**
 * Applies the manifests that the metrics server comes with, its image and the authority of the kubelets' certificates alone being ours, and waits
 * until the API server passes requests on to it. Throws with what kubectl or the server's log says.
 */
export async function deployMetricsServer(node: KubectlNode): Promise<void> {
  mkdirSync(folder, { recursive: true });
  copyFileSync(node.cluster.servingCa, join(folder, 'ca.crt'));
  writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(overlay()));
  const must = async (...args: readonly string[]): Promise<void> => {
    const { code, out, err } = await node.kubectl.askFor(110_000, ...args);
    if (code === 0) return;
    const logs = await node.kubectl.ask(
      ...inNamespace,
      'logs',
      'deployment/metrics-server',
      '--tail=20',
    );
    const pods = await node.kubectl.ask(...inNamespace, 'describe', 'pods');
    throw new Error([`kubectl ${args.join(' ')}`, out, err, logs.out, pods.out].join('\n'));
  };
  await must('apply', '-k', folder);
  await must(...inNamespace, 'rollout', 'status', 'deployment/metrics-server', '--timeout=100s');
  await must('wait', '--for=condition=Available', 'apiservice/v1beta1.metrics.k8s.io');
}

const inNamespace = ['--namespace=kube-system'];

function overlay(): object {
  const volume = { name: 'kubelet-ca', configMap: { name: 'kubelet-ca' } };
  const mount = { name: 'kubelet-ca', mountPath: '/etc/kubelet-ca', readOnly: true };
  const container = '/spec/template/spec/containers/0';
  const added = [
    [`${container}/args/-`, '--kubelet-certificate-authority=/etc/kubelet-ca/ca.crt'],
    [`${container}/volumeMounts/-`, mount],
    ['/spec/template/spec/volumes/-', volume],
  ] as const;
  const patch = added.map(([path, value]) => ({ op: 'add', path, value }));
  return {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(folder, join(metricsServerFolder, 'manifests'))],
    configMapGenerator: [{ name: 'kubelet-ca', namespace: 'kube-system', files: ['ca.crt'] }],
    images: [
      {
        name: 'gcr.io/k8s-staging-metrics-server/metrics-server',
        newName: image.name,
        newTag: image.tag,
      },
    ],
    patches: [
      { target: { kind: 'Deployment', name: 'metrics-server' }, patch: JSON.stringify(patch) },
    ],
  };
}
