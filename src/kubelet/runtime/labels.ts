/**
 * The labels and annotations by which sandboxes and containers tell whose they are, so that all can be rebuilt from the runtime alone.
 * All but `managedBy` are upstream's: its kubelet and tools read them.
 */
export const labels = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
  /** Value: the node's name. What lacks it was made by somebody else. */
  managedBy: 'switchyard.dev/managed-by',
} as const;

export const annotations = {
  hash: 'io.kubernetes.container.hash',
  restartCount: 'io.kubernetes.container.restartCount',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  preStop: 'io.kubernetes.container.preStopHandler',
  ports: 'io.kubernetes.container.ports',
  deletionGrace: 'io.kubernetes.pod.deletionGracePeriod',
  terminationGrace: 'io.kubernetes.pod.terminationGracePeriod',
  /** Ours: what the container was given, as its pod wrote it; JSON. */
  resources: 'switchyard.dev/resources',
} as const;

/**
 * A container is replaced when this changes: its name or its image. FNV-32a, hex. Only ever compared with what Switchyard
 * itself recorded.
 */
export function containerHash(container: {
  readonly name: string;
  readonly image: string;
}): string {
  let hash = 0x811c9dc5;
  const text = JSON.stringify({ name: container.name, image: container.image });
  for (const byte of new TextEncoder().encode(text)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash.toString(16);
}
