import type { BranchSource, Frontend } from '../../graph/rule-graph.ts';
import type { NodeContext, PodDetector } from '../../graph/node-context.ts';
import type { Family } from '../../ip/address.ts';
import { protocolText } from './chain-names.ts';
import { comment } from './static-rules.ts';

/** A match on where a packet comes from, in the pieces the tools print apart. */
export interface SourceMatch {
  /** Before the destination: `-s 10.0.0.0/8`. */
  readonly address: string;
  /** After the destination: `-i cbr0`. */
  readonly device: string;
  /** Among the extensions: `-m addrtype --src-type LOCAL`. */
  readonly extension: string;
}

export const fromAnywhere: SourceMatch = { address: '', device: '', extension: '' };
const fromNode: SourceMatch = { ...fromAnywhere, extension: '-m addrtype --src-type LOCAL' };

/** The match for packets of this node's pods; undefined without a detector: none is told apart. */
export function podMatch(detector: PodDetector, negated = false): SourceMatch | undefined {
  const not = negated ? '! ' : '';
  if (detector.kind === 'none') return undefined;
  if (detector.kind === 'cidr') return { ...fromAnywhere, address: `${not}-s ${detector.cidr}` };
  const device = detector.kind === 'interface' ? detector.name : `${detector.prefix}+`;
  return { ...fromAnywhere, device: `${not}-i ${device}` };
}

/** The match of a branch; undefined where no packet can take it. */
export function branchMatch(from: BranchSource, node: NodeContext): SourceMatch | undefined {
  if (from === 'pod') return podMatch(node.podDetector);
  return from === 'node' ? fromNode : fromAnywhere;
}

/** Joins what is not empty; all at once, for a text put together piece by piece is kept in these pieces. */
export function words(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(' ');
}

/** The match for packets that arrive at a frontend, in the order in which the tools print it. */
export function frontendMatch(
  frontend: Frontend,
  family: Family,
  why: string,
  source: SourceMatch = fromAnywhere,
): string {
  const { address, port } = frontend;
  const protocol = protocolText(frontend.protocol);
  const destination = address === undefined ? '' : `-d ${address}/${family === 'ipv4' ? 32 : 128}`;
  return words(
    source.address,
    destination,
    source.device,
    `-p ${protocol}`,
    why === '' ? '' : comment(why),
    source.extension,
    `-m ${protocol} --dport ${port}`,
  );
}

/** The match of a source alone, for rules in chains that are entered for one service port only. */
export function sourceMatch(source: SourceMatch, why = '', protocol = ''): string {
  const { address, device, extension } = source;
  return words(address, device, protocol, why === '' ? '' : comment(why), extension);
}

/** What the rule of a frontend says it is for. */
export function frontendComment({ kind, origin }: Frontend): string {
  return `${origin.name}${kindTexts[kind]}`;
}

const kindTexts: Readonly<Record<Frontend['kind'], string>> = {
  clusterIP: ' cluster IP',
  externalIP: ' external IP',
  loadBalancerIP: ' loadbalancer IP',
  nodePort: '',
};
