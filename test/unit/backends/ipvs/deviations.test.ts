import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deviations } from '../../../../src/backends/ipvs/deviations.ts';
import type { DeviationId } from '../../../../src/backends/ipvs/deviations.ts';
import { renderIpvs } from '../../../../src/backends/ipvs/render.ts';
import { lowerIpvs } from '../../../../src/backends/ipvs/lower.ts';
import type { IpvsOptions } from '../../../../src/backends/ipvs/options.ts';
import { compileAll } from '../../../../src/graph/compile.ts';
import type { Pool, RuleGraph } from '../../../../src/graph/rule-graph.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import type { ServicePort } from '../../../../src/services/service-port.ts';
import type { Attempt } from '../../../support/arbitraries.ts';
import { interpreted, meantByIpvs } from '../../../support/ipvs-deviations.ts';
import type { Shares } from '../../../support/ipvs-deviations.ts';
import { parseIpvs } from '../../../support/ipvs-simulator/parse.ts';
import { simulatedShares } from '../../../support/ipvs-simulator/shares.ts';
import { ipvsOptions, ipvsState } from '../../../support/ipvs-states.ts';
import {
  address,
  byKey,
  endpoint,
  nodeContext,
  servicePort,
} from '../../../support/service-ports.ts';

// Each deviation is in the ADR in the same words, and does occur: a packet that shows it.

interface Example {
  readonly node?: Partial<NodeContext>;
  readonly port: ServicePort;
  readonly attempt: Attempt;
  /** Of the endpoints in order. */
  readonly weights?: readonly number[];
  /** Of the node; default: rr. */
  readonly scheduler?: string;
  /** What `interpret` says, and what ipvs mode does. */
  readonly graph: Shares;
  readonly ipvs: Shares;
}

const remote = endpoint('10.244.2.1:8080');
const local = endpoint('10.244.1.7:8080', { local: true });
const pod: Attempt = {
  protocol: 'TCP',
  source: address('10.244.1.9'),
  inInterface: 'cni0',
  destination: address('10.96.0.10'),
  port: 80,
};
const node: Attempt = { ...pod, source: address('192.168.0.2'), inInterface: undefined };

const examples: Readonly<Record<Exclude<DeviationId, 'affinity by frontend'>, Example>> = {
  'one pool': {
    port: servicePort({
      externalIPs: ['203.0.113.9'],
      externalPolicy: 'Local',
      endpoints: [remote, local],
    }),
    attempt: { ...pod, destination: address('203.0.113.9') },
    graph: { '10.244.1.7 8080 false': 0.5, '10.244.2.1 8080 false': 0.5 },
    ipvs: { '10.244.1.7 8080 false': 1 },
  },
  'unused port': {
    port: servicePort({ endpoints: [remote] }),
    attempt: { ...pod, port: 22 },
    graph: { pass: 1 },
    ipvs: { reject: 1 },
  },
  'masqueraded node': {
    node: { podDetector: { kind: 'none' } },
    port: servicePort({ endpoints: [remote] }),
    attempt: node,
    graph: { '10.244.2.1 8080 false': 1 },
    ipvs: { '10.244.2.1 8080 true': 1 },
  },
  'node ports of loopback': {
    port: servicePort({ nodePort: 30_080, endpoints: [remote] }),
    attempt: {
      ...node,
      source: address('127.0.0.1'),
      destination: address('127.0.0.1'),
      port: 30_080,
    },
    graph: { '10.244.2.1 8080 true': 1 },
    ipvs: { pass: 1 },
  },
  'refused address': {
    port: servicePort({ externalIPs: ['192.168.0.3'], endpoints: [remote] }),
    attempt: { ...pod, destination: address('192.168.0.3') },
    graph: { '10.244.2.1 8080 true': 1 },
    ipvs: { pass: 1 },
  },
  scheduler: {
    port: servicePort({ endpoints: [remote, local] }),
    weights: [3, 1],
    scheduler: 'dh',
    attempt: pod,
    graph: { '10.244.1.7 8080 false': 0.75, '10.244.2.1 8080 false': 0.25 },
    ipvs: { '10.244.1.7 8080 false': 0.5, '10.244.2.1 8080 false': 0.5 },
  },
};

const base: IpvsOptions = {
  ...ipvsOptions,
  reserved: (at) => (at === '192.168.0.3' ? 'an address of Node node-2' : undefined),
};

function graphOf({ port, node: context, weights = [] }: Example): RuleGraph {
  const graph = compileAll(byKey([port]), nodeContext(context));
  const weighted = (pool: Pool): Pool => ({
    ...pool,
    endpoints: pool.endpoints.map((each, i) => ({ ...each, weight: weights[i] ?? each.weight })),
  });
  return { ...graph, pools: new Map([...graph.pools].map(([id, pool]) => [id, weighted(pool)])) };
}

describe('deviations of ipvs mode', () => {
  it('stand in the ADR in the same words and order', () => {
    const path = join(import.meta.dirname, '../../../../docs/adr/0008-ipvs-layout.md');
    const [, list = ''] = readFileSync(path, 'utf8').split(
      '## Deviations from what `interpret` says\n',
    );
    const items = list.split(/^\d+\. /m).slice(1);
    const texts = items.map((text) => text.trim().split(/\s+/).join(' '));
    expect(texts).toEqual(Object.values(deviations));
  });

  it.each(Object.entries(examples))('%s', (id, example) => {
    const { attempt, scheduler = base.scheduler } = example;
    const options = { ...base, scheduler };
    const graph = graphOf(example);
    expect(interpreted(graph, attempt)).toEqual(example.graph);
    const text = renderIpvs(lowerIpvs(graph, options));
    const got = simulatedShares(parseIpvs(text), graph.node.localAddresses, attempt);
    expect(got).toEqual(example.ipvs);
    const said = meantByIpvs(graph, attempt, options);
    expect(said.shares).toEqual(example.ipvs);
    expect([...said.deviations]).toEqual([id]);
  });

  it('affinity by frontend: each address is persistent by itself', () => {
    const port = servicePort({
      externalIPs: ['203.0.113.9'],
      affinitySeconds: 600,
      endpoints: [remote, local],
    });
    const servers = [...ipvsState([port]).servers.values()];
    expect(servers.map(({ persistentSeconds }) => persistentSeconds)).toEqual([600, 600]);
  });
});
