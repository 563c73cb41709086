import { narrowedSource } from '../informer/narrowed-source.ts';
import type { Source } from '../informer/source.ts';
import { anyNodeKind, nodeKind } from '../services/node-kind.ts';
import type { NodeObject } from '../services/objects.ts';
import type { ObjectSources } from './sources.ts';

/** This Node alone. An API server selects it; of manifests all Nodes are read, since others' addresses are of use too. */
export function ownNode(sources: ObjectSources, nodeName: string): Source<NodeObject> {
  if (sources.server !== undefined) return sources.source(nodeKind(nodeName));
  return narrowedSource(sources.source(anyNodeKind), (node) =>
    node.meta.name === nodeName ? node : undefined,
  );
}
