import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import type { Pod } from '../pod/pod.ts';
import { mapsOf, sectionOf, textOf } from '../pod/raw-fields.ts';

interface MatchedNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Whether a pod's nodeSelector and the node affinity that it requires allow this node. */
export function matchesNode({ spec }: Pick<Pod, 'spec'>, node: MatchedNode): boolean {
  for (const [key, value] of Object.entries(spec.nodeSelector ?? {})) {
    if (node.labels[key] !== value) return false;
  }
  const affinity = sectionOf(sectionOf(spec as unknown as Raw, 'affinity'), 'nodeAffinity');
  const required = affinity['requiredDuringSchedulingIgnoredDuringExecution'];
  return !isRaw(required) || selectsNode(required, node);
}

/** Whether a node selector has a term that this node matches. */
export function selectsNode(selector: Raw, node: MatchedNode): boolean {
  return mapsOf(selector, 'nodeSelectorTerms').some((term) => matchesTerm(term, node));
}

/** A term that asks nothing matches nothing. */
function matchesTerm(term: Raw, { name, labels }: MatchedNode): boolean {
  const expressions = mapsOf(term, 'matchExpressions');
  const fields = mapsOf(term, 'matchFields');
  if (expressions.length + fields.length === 0) return false;
  const isNamed = (key: string): string | undefined => (key === 'metadata.name' ? name : undefined);
  return (
    expressions.every((each) => matches(each, (key) => labels[key])) &&
    fields.every((each) => matches(each, isNamed))
  );
}

function matches(expression: Raw, valueOf: (key: string) => string | undefined): boolean {
  const value = valueOf(textOf(expression['key']));
  const given = expression['values'];
  const values: readonly unknown[] = Array.isArray(given) ? given : [];
  switch (expression['operator']) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}
