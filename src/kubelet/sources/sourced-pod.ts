import type { Pod } from '../pod/pod.ts';

/** Where pods come from. */
export type PodSourceName = 'file' | 'http' | 'api';

/** Annotations by which a kubelet keeps apart what it runs. */
export const annotation = {
  source: 'kubernetes.io/config.source',
  seen: 'kubernetes.io/config.seen',
  hash: 'kubernetes.io/config.hash',
  mirror: 'kubernetes.io/config.mirror',
} as const;

/** Set by this kubelet on its own copy: no difference between two versions of a pod. */
export const localAnnotations: ReadonlySet<string> = new Set([
  annotation.source,
  annotation.seen,
  annotation.mirror,
]);

type WithAnnotations = Pick<Pod, 'metadata'>;

/** The source that a pod was stamped with; undefined: it came from none. */
export function sourceOf({ metadata }: WithAnnotations): PodSourceName | undefined {
  const source = metadata.annotations[annotation.source];
  return source === 'file' || source === 'http' || source === 'api' ? source : undefined;
}

/** Whether this node runs it on its own account. */
export function isStaticPod(pod: WithAnnotations): boolean {
  const source = sourceOf(pod);
  return source !== undefined && source !== 'api';
}

/** Whether it only stands for a static pod at the API server; it is never run. */
export function isMirrorPod({ metadata }: WithAnnotations): boolean {
  return metadata.annotations[annotation.mirror] !== undefined;
}

/**
 * Never in the way of others for want of room: static, mirror, or of a system's priority (Kubernetes: Guaranteed Scheduling For Critical
 * Add-On Pods).
 */
export function isCriticalPod(pod: Pick<Pod, 'metadata' | 'spec'>): boolean {
  return isStaticPod(pod) || isMirrorPod(pod) || (pod.spec.priority ?? 0) >= 2_000_000_000;
}

/** `web_default`: one pod of a full name runs at a time. */
export function fullName({ metadata }: WithAnnotations): string {
  return `${metadata.name}_${metadata.namespace}`;
}

/** A pod with annotations of ours. */
export function stamped(pod: Pod, more: Readonly<Record<string, string>>): Pod {
  const annotations = { ...pod.metadata.annotations, ...more };
  return { ...pod, metadata: { ...pod.metadata, annotations } };
}

/** When a source had it first; undefined: it has not said it. */
export function seenAtMs({ metadata }: WithAnnotations): number | undefined {
  const ms = Date.parse(metadata.annotations[annotation.seen] ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

/** A moment with nine digits of fraction, as `config.seen` has it. */
export function seenText(nowMs: number): string {
  return new Date(nowMs).toISOString().replace('Z', '000000Z');
}
