import { SwitchyardError } from '../../error.ts';
import { readYamlDocuments } from '../../informer/yaml-documents.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import type { Pod } from '../pod/pod.ts';
import { problemsText, validatePod } from '../pod/validate-pod.ts';
import { staticPod } from './static-pod.ts';
import type { StaticPlace } from './static-pod.ts';

/** The one pod of a manifest; throws an `object` error with all that is wrong with it. */
export function readStaticPod(text: string, place: StaticPlace): Pod {
  const raw = onlyDocument(text);
  if (!isRaw(raw) || raw['kind'] !== 'Pod' || raw['apiVersion'] !== 'v1') {
    const got = isRaw(raw)
      ? `${String(raw['apiVersion'])} ${String(raw['kind'])}`
      : 'something else';
    throw new SwitchyardError('object', `expected a v1 Pod, got ${got}`);
  }
  return validStaticPod(raw, place);
}

/** The same of a pod that has been read. */
export function validStaticPod(raw: Raw, place: StaticPlace): Pod {
  const problems = validatePod(raw);
  if (problems.length > 0) throw new SwitchyardError('object', problemsText(problems));
  return staticPod(raw, place);
}

function onlyDocument(text: string): unknown {
  const values: unknown[] = [];
  for (const { value, error } of readYamlDocuments(text)) {
    if (error !== undefined) throw new SwitchyardError('object', error.reason);
    if (value !== null && value !== undefined) values.push(value);
  }
  if (values.length === 1) return values[0];
  const reason = values.length === 0 ? 'is empty' : `has ${values.length} documents`;
  throw new SwitchyardError('object', `${reason}, expected one Pod`);
}
