import { SwitchyardError, errorText } from '../../error.ts';
import { readYamlDocuments } from '../../informer/yaml-documents.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import type { Pod } from '../pod/pod.ts';
import { sectionOf, textOf } from '../pod/raw-fields.ts';
import type { Complaint } from './complaints.ts';
import { validStaticPod } from './read-static-pod.ts';
import type { StaticPlace } from './static-pod.ts';

/** The pods of a document, and what of it is none that can be run. */
export interface ReadPods {
  readonly pods: readonly Pod[];
  readonly refused: readonly Complaint[];
}

/**
 * What a URL gave: Pods, PodLists and Lists of Pods, as YAML or JSON (spec 1.3). A pod with which something is wrong keeps no other from
 * being read. Throws where it is something else: then nothing can be said of what there is.
 */
export function readStaticPods(text: string, place: StaticPlace): ReadPods {
  const values = [...readYamlDocuments(text)].map(({ value, error }) => {
    if (error !== undefined) throw new SwitchyardError('object', error.reason);
    return value;
  });
  const items = values.filter((each) => each !== null && each !== undefined).flatMap(itemsOf);
  if (values.every((each) => each === null || each === undefined))
    throw new SwitchyardError('object', 'is empty; no pods at all are a List without items');
  const pods: Pod[] = [];
  const refused: Complaint[] = [];
  for (const { raw, at } of items) {
    try {
      pods.push(podOf(raw, place));
    } catch (error) {
      refused.push({ what: whatOf(raw, at), reason: `is left out: ${errorText(error)}` });
    }
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

/** `items[3] (default/web)` */
function whatOf(raw: unknown, at: string): string {
  const meta: Raw = isRaw(raw) ? sectionOf(raw, 'metadata') : {};
  const names = `${textOf(meta['namespace']) || 'default'}/${textOf(meta['name']) || '?'}`;
  return at === '' ? names : `${at} (${names})`;
}
