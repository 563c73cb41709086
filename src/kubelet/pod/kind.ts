import type { Kind, KubeObject } from '../../informer/kind.ts';
import { isRaw } from '../../services/field-reader.ts';
import { slimNamed } from '../../services/object-meta.ts';
import { defaultPod } from './default-pod.ts';
import type { Pod } from './pod.ts';

/** A pod of the API server. */
export interface PodObject extends KubeObject {
  readonly pod: Pod;
}

/** The pods that are bound to a node. */
export function podKind(nodeName: string): Kind<PodObject> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    resource: 'pods',
    fieldSelector: `spec.nodeName=${nodeName}`,
    selects: (raw) => isRaw(raw) && isRaw(raw['spec']) && raw['spec']['nodeName'] === nodeName,
    slim: (value) => slimNamed(value, true, (raw, meta) => ({ meta, pod: defaultPod(raw) })),
  };
}
