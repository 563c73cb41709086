import { within } from '../../informer/kind.ts';
import type { Kind } from '../../informer/kind.ts';
import { wholeNodeKind } from '../../services/node-kind.ts';
import type { WholeNode } from '../../services/node-kind.ts';
import type { NodeObject } from './node-object.ts';

/** This node alone, as the API server has it. */
export function ownNodeKind(nodeName: string): Kind<WholeNode> {
  const kind = wholeNodeKind(nodeName);
  return { ...kind, within: within(kind, (node: WholeNode) => node) };
}

/** Of what is watched. */
export function nodeObjectOf({ whole }: WholeNode): NodeObject {
  return whole as unknown as NodeObject;
}
