import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { diff } from '../../../src/backends/iptables/diff.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { parseSave } from '../../../src/backends/iptables/read.ts';
import type { Observed } from '../../../src/backends/iptables/read.ts';
import { renderRestore } from '../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import type { IptablesState } from '../../../src/backends/iptables/state.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import type { NodeContext } from '../../../src/graph/node-context.ts';
import type { ServicePort } from '../../../src/services/service-port.ts';
import { attempts, nodeContexts, servicePortLists } from '../../support/arbitraries.ts';
import type { Attempt } from '../../support/arbitraries.ts';
import { parseTables } from '../../../src/walk/parse.ts';
import { walk } from '../../../src/walk/traverse.ts';
import { byKey, servicePort } from '../../support/service-ports.ts';

function stateOf(list: readonly ServicePort[], node: NodeContext): IptablesState {
  return lowerAll(compileAll(byKey(list), node), {
    features: defaultFeatures,
    masqueradeMark: 0x4000,
    localhostNodePorts: false,
    conntrackBeLiberal: false,
  });
}

/** Whether some packets of the attempt would reach the service address itself. */
function escapes(rules: string, { localAddresses }: NodeContext, attempt: Attempt): boolean {
  const packet = {
    ...attempt,
    protocol: attempt.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp',
    destinationPort: attempt.port,
    sourcePort: 40_000,
    outInterface: 'eth0',
    state: 'NEW' as const,
  };
  return walk(parseTables(rules), { localAddresses, sets: new Map() }, packet).some(
    (outcome) => outcome.kind === 'delivered' && !outcome.translated,
  );
}

/** What a full sync would read of rules. */
function observedOf(rules: string): Observed {
  const table = (name: string): string => {
    const text = new RegExp(`^\\*${name}\\n(.*?)^COMMIT`, 'ms').exec(rules)?.[1] ?? '';
    // What was put at the top last comes first.
    const jumps = text.match(/^-I \w+ 1 .*\n/gm) ?? [];
    const rest = text.replaceAll(/^-I \w+ 1 .*\n/gm, '');
    return (
      jumps
        .toReversed()
        .join('')
        .replaceAll(/^-I (\w+) 1 /gm, '-A $1 ') + rest
    );
  };
  return {
    filter: parseSave(table('filter')),
    nat: parseSave(table('nat')),
    mangle: parseSave(table('mangle')),
  };
}

const nothing = servicePort().endpoints;

/** Which service ports have no endpoints, and which have no source ranges. */
interface Lacks {
  readonly endpoints: readonly boolean[];
  readonly ranges: readonly boolean[];
}

function lacking(list: readonly ServicePort[], lacks: Lacks): readonly ServicePort[] {
  return list.map((port, i) => ({
    ...port,
    endpoints: lacks.endpoints[i] === true ? nothing : port.endpoints,
    sourceRanges: lacks.ranges[i] === true ? [] : port.sourceRanges,
  }));
}

const changes = fc.tuple(nodeContexts('ipv4'), servicePortLists('ipv4')).chain(([node, list]) => {
  const some = fc.array(fc.boolean(), { minLength: list.length, maxLength: list.length });
  const lacks: fc.Arbitrary<Lacks> = fc.record({ endpoints: some, ranges: some });
  return fc.record({
    node: fc.constant(node),
    list: fc.constant(list),
    attempt: attempts('ipv4', list),
    before: lacks,
    after: lacks,
  });
});

it.each(['partial', 'full'] as const)(
  'at no moment of a %s restore does a service let packets to itself through',
  (kind) => {
    fc.assert(
      fc.property(changes, ({ node, list, attempt, ...lacks }) => {
        const before = stateOf(lacking(list, lacks.before), node);
        const after = stateOf(lacking(list, lacks.after), node);
        const start = renderRestore(before);
        const { restore } =
          kind === 'partial'
            ? diff(before, after, 'generation a 2')
            : diff(undefined, after, 'generation a 2', observedOf(start));
        const steps = restore.split(/(?<=^COMMIT\n)/m);
        const moments = Array.from({ length: steps.length + 1 }, (_, i) =>
          [start, ...steps.slice(0, i)].join(''),
        );
        const last = moments.at(-1) ?? '';
        if (escapes(start, node, attempt) || escapes(last, node, attempt)) return;
        for (const moment of moments) expect(escapes(moment, node, attempt)).toBe(false);
      }),
      { numRuns: 150 },
    );
  },
);
