import type { Container } from '../../support/pod-form.ts';
import type { ContainerPlaces } from '../../support/pod-process.ts';
import type { ContainerOptions } from './containerd.ts';

const tokenFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * What a kubelet asks of the runtime for a container of a pod. Refuses a container whose rights are not those that
 * {@link ContainerOptions} has.
 */
export function podContainer(container: Container, places: ContainerPlaces): ContainerOptions {
  const { volumeMounts = [], env: variables = [], args: words = [] } = container;
  const { privileged = false } = container.securityContext;
  expectRights(container.securityContext);
  const mounts = volumeMounts.map(({ name, mountPath, readOnly = false }) => {
    const source = places.volumes[name];
    if (source === undefined) throw new Error(`nothing stands for the volume ${name}`);
    return [mountPath, { source, writable: !readOnly }] as const;
  });
  const env = variables.map(({ name, value = '', valueFrom }) => {
    const path = valueFrom?.fieldRef.fieldPath;
    return [name, path === undefined ? value : (places.fields[path] ?? '')] as const;
  });
  const known = new Map(env);
  const args = words.map((text) =>
    text.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => known.get(name) ?? whole),
  );
  return {
    args: [...places.entryPoint, ...args],
    env: Object.fromEntries(env),
    privileged,
    mounts: { ...Object.fromEntries(mounts), [tokenFolder]: { source: places.serviceAccount } },
  };
}

/** Throws where the rights are not those that a container here gets. */
function expectRights({
  privileged = false,
  capabilities,
  ...rest
}: Container['securityContext']): void {
  if (rest.readOnlyRootFilesystem !== true || rest.runAsUser !== 0) {
    throw new Error('expected uid 0 and a read-only root file system');
  }
  const wanted = `drop ${capabilities?.drop?.join()} add ${capabilities?.add?.join()}`;
  if (!privileged && wanted !== 'drop ALL add NET_ADMIN,NET_RAW') throw new Error(wanted);
}
