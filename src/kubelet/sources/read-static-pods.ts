import { SwitchyardError, errorText } from '../../error.ts';
import { readYamlDocuments } from '../../informer/yaml-documents.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import type { Pod } from '../pod/pod.ts';
import { sectionOf, textOf } from '../pod/raw-fields.ts';
import { validStaticPod } from './read-static-pod.ts';
import type { Complaint } from './source-state.ts';
import { namesOnNode } from './static-pod.ts';
import type { PodNames, StaticPlace } from './static-pod.ts';

/** The pods of a document with those that stay as they were, and what of it is none that can be run. */
export interface ReadPods {
  readonly pods: readonly Pod[];
  readonly refused: readonly Complaint[];
}

/**
 * What a URL gave: Pods, PodLists and Lists of Pods, as YAML or JSON. A pod with which something is wrong keeps no other from
 * being read, and stays as it was in `before`, what was read last: a mistake in a manifest ends nothing that runs. Throws where it is
 * something else: then nothing can be said of what there is.
 */
export function readStaticPods(
  text: string,
  place: StaticPlace,
  before: readonly Pod[] = [],
): ReadPods {
  const values = [...readYamlDocuments(text)].map(({ value, error }) => {
    if (error !== undefined) throw new SwitchyardError('object', error.reason);
    return value;
  });
  const items = values.filter((each) => each !== null && each !== undefined).flatMap(itemsOf);
  if (values.every((each) => each === null || each === undefined))
    throw new SwitchyardError('object', 'is empty; no pods at all are a List without items');
  const pods: Pod[] = [];
  const failed: (Item & { readonly error: unknown })[] = [];
  for (const item of items) {
    try {
      pods.push(podOf(item.raw, place));
    } catch (error) {
      failed.push({ ...item, error });
    }
  }
  const names = new Set(pods.map(fullName));
  const refused: Complaint[] = [];
  for (const { raw, at, error } of failed) {
    const name = nameOf(raw, place);
    const last = names.has(name ?? '') ? undefined : before.find((pod) => fullName(pod) === name);
    if (last !== undefined) pods.push(last);
    if (name !== undefined) names.add(name);
    const what = last === undefined ? 'is left out' : 'stays as it was';
    refused.push({ what: whatOf(raw, at), reason: `${what}: ${errorText(error)}` });
  }
  return { pods, refused };
}

interface Item {
  readonly raw: unknown;
  /** `items[3]`; '' where it stands alone. */
  readonly at: string;
}

function itemsOf(value: unknown): readonly Item[] {
  const kind = kindOf(value);
  if (isRaw(value) && kind === 'v1 Pod') return [{ raw: value, at: '' }];
  if (!isRaw(value) || (kind !== 'v1 PodList' && kind !== 'v1 List'))
    throw new SwitchyardError('object', `expected a v1 Pod, PodList or List, got ${kind}`);
  const items = value['items'] ?? [];
  if (!Array.isArray(items)) throw new SwitchyardError('object', 'items: expected a list');
  return items.map((raw: unknown, index) => ({
    // What is in a list of one kind need not say it again.
    raw: kind === 'v1 PodList' && isRaw(raw) ? { apiVersion: 'v1', kind: 'Pod', ...raw } : raw,
    at: `items[${index}]`,
  }));
}

function podOf(raw: unknown, place: StaticPlace): Pod {
  if (isRaw(raw) && kindOf(raw) === 'v1 Pod') return validStaticPod(raw, place);
  throw new SwitchyardError('object', `expected a v1 Pod, got ${kindOf(raw)}`);
}

function kindOf(value: unknown): string {
  if (!isRaw(value)) return 'something else';
  return `${String(value['apiVersion'])} ${String(value['kind'])}`;
}

/** Which pod is meant, though it cannot be run; undefined: that cannot be told, or it is something else that is called so. */
function nameOf(raw: unknown, place: StaticPlace): string | undefined {
  if (!isRaw(raw) || (typeof raw['kind'] === 'string' && raw['kind'] !== 'Pod')) return undefined;
  const { namespace = '', name } = sectionOf(raw, 'metadata');
  if (typeof namespace !== 'string' || typeof name !== 'string' || name === '') return undefined;
  return fullName({ metadata: namesOnNode({ namespace, name }, place) });
}

function fullName({ metadata }: { readonly metadata: PodNames }): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** `items[3] (default/web)` */
function whatOf(raw: unknown, at: string): string {
  const meta: Raw = isRaw(raw) ? sectionOf(raw, 'metadata') : {};
  const names = `${textOf(meta['namespace']) || 'default'}/${textOf(meta['name']) || '?'}`;
  return at === '' ? names : `${at} (${names})`;
}
