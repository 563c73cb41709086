// What service ports of one node are, one state after the other, and packets that are sent meanwhile.
import * as fc from 'fast-check';
import { lowerIpvs } from '../../src/backends/ipvs/lower.ts';
import type { IpvsState } from '../../src/backends/ipvs/state.ts';
import { compileAll } from '../../src/graph/compile.ts';
import type { NodeContext } from '../../src/graph/node-context.ts';
import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { ServicePort } from '../../src/services/service-port.ts';
import { attempts, nodeContexts, servicePortLists } from './arbitraries.ts';
import type { Attempt } from './arbitraries.ts';
import { ipvsOptions } from './ipvs-states.ts';
import { byKey, servicePort } from './service-ports.ts';

/** What may be different of a service port from one state to the next. */
type Form = 'whole' | 'absent' | 'no endpoints' | 'no ranges' | 'few endpoints' | 'no affinity';

/** A node whose service ports change, and packets that ask for them. */
export interface Changes {
  readonly node: NodeContext;
  readonly list: readonly ServicePort[];
  /** Of each state the form of each service port. */
  readonly states: readonly (readonly Form[])[];
  readonly packets: readonly Attempt[];
  /** The node's own packet to a bound address has that as its source, as the kernel chooses it. */
  readonly fromItself: boolean;
}

const forms = fc.constantFrom<Form>(
  'whole',
  'whole',
  'absent',
  'no endpoints',
  'no ranges',
  'few endpoints',
  'no affinity',
);

/** Changes through so many states, of IPv4. */
export function changesThrough(states: number): fc.Arbitrary<Changes> {
  return fc.tuple(nodeContexts('ipv4'), servicePortLists('ipv4')).chain(([node, list]) => {
    const each = fc.array(forms, { minLength: list.length, maxLength: list.length });
    return fc.record({
      node: fc.constant(node),
      list: fc.constant(list),
      states: fc.array(each, { minLength: states, maxLength: states }),
      packets: fc.array(attempts('ipv4', list), { minLength: 6, maxLength: 6 }),
      fromItself: fc.boolean(),
    });
  });
}

/** From 0 to below 1, each as likely: an arbitrary double is nearly always next to 0. */
export const parts = fc.nat(999).map((n) => n / 1000);

/** The graphs of the states, in order. */
export function graphsOf({ node, list, states }: Changes): readonly RuleGraph[] {
  return states.map((each) => compileAll(byKey(inForms(list, each)), node));
}

/** What the ipvs mode makes of the states, in order. */
export function statesOf(changes: Changes): readonly IpvsState[] {
  return graphsOf(changes).map((graph) => lowerIpvs(graph, ipvsOptions));
}

const nothing = servicePort().endpoints;

function inForms(list: readonly ServicePort[], each: readonly Form[]): readonly ServicePort[] {
  return list.flatMap((port, i) => {
    const { endpoints } = port;
    const few = {
      cluster: endpoints.cluster?.slice(0, 1),
      local: endpoints.local?.slice(0, 1),
    };
    const as: Readonly<Record<Form, readonly ServicePort[]>> = {
      whole: [port],
      absent: [],
      'no endpoints': [{ ...port, endpoints: nothing }],
      'no ranges': [{ ...port, sourceRanges: [] }],
      'few endpoints': [{ ...port, endpoints: { ...endpoints, ...few } }],
      'no affinity': [{ ...port, affinitySeconds: undefined }],
    };
    return as[each[i] ?? 'whole'];
  });
}
