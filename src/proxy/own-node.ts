import type { Source, SourceSink } from '../informer/source.ts';
import { anyNodeKind, nodeKind } from '../services/node-kind.ts';
import type { NodeObject } from '../services/objects.ts';
import type { ObjectSources } from './sources.ts';

/** This Node alone. An API server selects it; of manifests all Nodes are read, since others' addresses are of use too. */
export function ownNode(sources: ObjectSources, nodeName: string): Source<NodeObject> {
  if (sources.server !== undefined) return sources.source(nodeKind(nodeName));
  const all = sources.source(anyNodeKind);
  const isOwn = ({ meta }: NodeObject): boolean => meta.name === nodeName;
  const narrowed = (sink: SourceSink<NodeObject>): SourceSink<NodeObject> => ({
    replace: (nodes) => {
      sink.replace(nodes.filter(isOwn));
    },
    upsert: (node) => {
      if (isOwn(node)) sink.upsert(node);
    },
    remove: (key) => {
      if (key === nodeName) sink.remove(key);
    },
  });
  return { run: async (sink, signal) => all.run(narrowed(sink), signal) };
}
