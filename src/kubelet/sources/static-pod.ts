import { createHash } from 'node:crypto';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { defaultPod } from '../pod/default-pod.ts';
import type { Pod, Toleration } from '../pod/pod.ts';
import { annotation } from './sourced-pod.ts';

/** Where a static pod was read. */
export interface StaticPlace {
  readonly source: 'file' | 'http';
  /** The path of its file, or its URL. */
  readonly place: string;
  readonly nodeName: string;
}

export type PodNames = Pick<Pod['metadata'], 'namespace' | 'name'>;

/**
 * The pod of a valid manifest as this node runs it (Kubernetes: Create static Pods): with a UID that is made from all that the manifest
 * says, so that a change of it is another pod, unless it has a UID of its own; with the node in its name; bound to the node.
 */
export function staticPod(raw: Raw, place: StaticPlace): Pod {
  const { metadata, spec } = defaultPod(raw);
  const uid = metadata.uid === '' ? manifestHash(raw, place) : metadata.uid;
  const tolerations = place.source === 'file' ? tolerating(spec.tolerations) : spec.tolerations;
  return {
    metadata: {
      ...metadata,
      uid,
      ...namesOnNode(metadata, place),
      annotations: { ...metadata.annotations, [annotation.hash]: uid },
    },
    spec: {
      ...spec,
      nodeName: place.nodeName,
      ...(tolerations === undefined ? {} : { tolerations }),
    },
    status: { phase: 'Pending' },
  };
}

/** What a pod that has these names in its manifest is called. */
export function namesOnNode(
  { namespace, name }: PodNames,
  { nodeName }: Pick<StaticPlace, 'nodeName'>,
): PodNames {
  return {
    name: `${name}-${nodeName.toLowerCase()}`,
    namespace: namespace === '' ? 'default' : namespace,
  };
}

const toleration: Toleration = { operator: 'Exists', effect: 'NoExecute' };

/** No taint ends a pod of a file. */
function tolerating(tolerations: readonly Toleration[] = []): readonly Toleration[] {
  return [...tolerations.filter((each) => !toleratesAll(each)), toleration];
}

function toleratesAll({ key = '', operator, effect }: Toleration): boolean {
  return key === '' && operator === toleration.operator && effect === toleration.effect;
}

/** 32 hexadecimal digits, the same for the same manifest however its keys are sorted. */
function manifestHash(raw: Raw, { source, place, nodeName }: StaticPlace): string {
  const hash = createHash('sha256').update(canonical(raw));
  if (source === 'file') hash.update(`host:${nodeName}file:${place}`);
  else hash.update(`url:${place}`);
  return hash.digest('hex').slice(0, 32);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isRaw(value)) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return `{${fields.map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`).join(',')}}`;
}
