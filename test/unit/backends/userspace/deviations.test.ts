import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deviations } from '../../../../src/backends/userspace/deviations.ts';
import type { DeviationId } from '../../../../src/backends/userspace/deviations.ts';
import { renderStanding, renderUserspace } from '../../../../src/backends/userspace/render.ts';
import { standListeners } from '../../../../src/backends/userspace/standing.ts';
import { defaultUserspaceOptions } from '../../../../src/backends/userspace/state.ts';
import type { ListenerPorts } from '../../../../src/backends/userspace/state.ts';
import { compileAll } from '../../../../src/graph/compile.ts';
import { interpret } from '../../../../src/graph/interpret.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import { packetFrom } from '../../../../src/graph/packet.ts';
import { toNumber } from '../../../../src/graph/rational.ts';
import type { RuleGraph } from '../../../../src/graph/rule-graph.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';
import type { ServicePort } from '../../../../src/services/service-port.ts';
import type { Attempt } from '../../../support/arbitraries.ts';
import {
  address,
  byKey,
  endpoint,
  nodeContext,
  servicePort,
} from '../../../support/service-ports.ts';
import { meantByUserspace } from '../../../support/userspace-deviations.ts';
import { parseUserspace } from '../../../support/userspace-simulator/parse.ts';
import { carried, simulatedShares } from '../../../support/userspace-simulator/shares.ts';
import type { Shares } from '../../../support/userspace-simulator/shares.ts';
import { portsInOrder, portsOf, userspaceState } from '../../../support/userspace-states.ts';

// Each deviation is in the ADR in the same words, and does occur: a connection that shows it.

const remote = endpoint('10.244.2.1:8080');
const local = endpoint('10.244.1.7:8080', { local: true });
const pod: Attempt = {
  protocol: 'TCP',
  source: address('10.244.1.9'),
  inInterface: 'cni0',
  destination: address('10.96.0.10'),
  port: 80,
};

interface Example {
  readonly node?: Partial<NodeContext>;
  readonly port: ServicePort;
  readonly attempt: Attempt;
  readonly unopened?: true;
  readonly policy?: 'DROP';
  /** What `interpret` says, masquerade left aside, and what userspace mode does. */
  readonly graph: Shares;
  readonly userspace: Shares;
}

const examples: Readonly<
  Record<'source' | 'SCTP' | 'no listener' | 'closed ports' | 'accepted' | 'own places', Example>
> = {
  source: {
    port: servicePort({ endpoints: [remote] }),
    attempt: pod,
    graph: { '10.244.2.1 8080 source kept': 1 },
    userspace: { '10.244.2.1 8080': 1 },
  },
  SCTP: {
    port: servicePort({ protocol: 'SCTP', endpoints: [remote] }),
    attempt: { ...pod, protocol: 'SCTP' },
    graph: { '10.244.2.1 8080 source kept': 1 },
    userspace: { reject: 1 },
  },
  'no listener': {
    port: servicePort({ endpoints: [remote] }),
    attempt: pod,
    unopened: true,
    graph: { '10.244.2.1 8080 source kept': 1 },
    userspace: { reject: 1 },
  },
  'closed ports': {
    port: servicePort({ endpoints: [remote] }),
    attempt: { ...pod, destination: address('192.168.0.2'), port: 20_001 },
    graph: { pass: 1 },
    userspace: { drop: 1 },
  },
  accepted: {
    port: servicePort({ nodePort: 30_080, endpoints: [remote] }),
    attempt: { ...pod, source: address('198.51.100.7'), inInterface: 'eth0' },
    policy: 'DROP',
    graph: { '10.244.2.1 8080 source hidden': 1 },
    userspace: { '10.244.2.1 8080': 1 },
  },
  'own places': {
    port: servicePort({ endpoints: [endpoint('10.96.0.10:80')] }),
    attempt: pod,
    graph: { '10.96.0.10 80 source kept': 1 },
    userspace: { reject: 1 },
  },
};

function interpreted(graph: RuleGraph, attempt: Attempt): Shares {
  const outcomes = interpret(graph, packetFrom(graph.node, attempt));
  return Object.fromEntries(
    outcomes.map((outcome) => {
      const share = toNumber(outcome.probability);
      if (outcome.kind !== 'endpoint') return [outcome.kind, share];
      const { endpoint: to, masquerade } = outcome;
      return [`${to.address} ${to.port} source ${masquerade ? 'hidden' : 'kept'}`, share];
    }),
  );
}

describe('deviations of userspace mode', () => {
  it('stand in the ADR in the same words and order', () => {
    const path = join(import.meta.dirname, '../../../../docs/adr/0010-userspace-layout.md');
    const [, list = ''] = readFileSync(path, 'utf8').split(
      '## Deviations from what `interpret` says\n',
    );
    const [items = ''] = list.split('\n## ');
    const texts = [...items.matchAll(/^\d+\. (.*)$/gm)].map(([, text]) => text);
    expect(texts).toEqual(Object.values(deviations));
  });

  it.each(Object.entries(examples))('%s', (id, example) => {
    const { node, port, attempt, unopened = false, policy = 'ACCEPT' } = example;
    const graph = compileAll(byKey([port]), nodeContext(node));
    let ports: ListenerPorts = portsOf([]);
    const state = userspaceState(graph, (listeners) => {
      ports = unopened
        ? portsOf(Array.from(listeners.keys(), (key) => [key, { refused: 'EADDRINUSE' }]))
        : portsInOrder(listeners);
      return ports;
    });
    const text = renderUserspace(state, ports, defaultUserspaceOptions.features);
    const parsed = parseUserspace(text.replace(/^\*filter$/m, `*filter\n:INPUT ${policy} [0:0]`));
    const meaning = meantByUserspace(graph, attempt, {
      listeners: parsed.listeners,
      unopened: () => unopened,
      guarded: undefined,
      policy,
    });
    expect([...meaning.deviations]).toContain(id as DeviationId);
    expect(interpreted(graph, attempt)).toEqual(example.graph);
    expect(meaning.shares).toEqual(example.userspace);
    expect(simulatedShares(parsed, graph.node.localAddresses, attempt)).toEqual(example.userspace);
  });

  it('turns, affinity by list: a listener a list, which knows of no other', () => {
    const port = servicePort({
      nodePort: 30_080,
      externalPolicy: 'Local',
      affinitySeconds: 60,
      endpoints: [remote, local],
    });
    const { listeners } = userspaceState(compileAll(byKey([port]), nodeContext()));
    const stays = (list: string) => {
      const key = `default/web:/TCP ${list} ipv4` as ListenerKey;
      const to = listeners.get(key)?.routes[0]?.to ?? 'refuse';
      return to === 'refuse' ? to : [to.endpoints.length, to.affinitySeconds];
    };
    expect([stays('cluster'), stays('local')]).toEqual([
      [2, 60],
      [1, 60],
    ]);
  });

  it('reset, places, pods by interface: without portals', () => {
    const port = servicePort({
      nodePort: 30_080,
      externalIPs: ['203.0.113.9'],
      externalPolicy: 'Local',
      endpoints: [remote],
    });
    const node = nodeContext({ podDetector: { kind: 'interface', name: 'cni0' } });
    const graph = compileAll(byKey([port]), node);
    const state = standListeners([graph], { ...defaultUserspaceOptions, portOffset: 10_000 });
    const at = parseUserspace(renderStanding(state)).listeners.find((each) => each.port === 30_080);
    expect(at?.address).toBe('127.0.0.1');
    const outside = { ...pod, destination: address('192.168.0.2'), port: 30_080 };
    // a pod, and somebody else
    expect(interpreted(graph, outside)).toEqual({ '10.244.2.1 8080 source kept': 1 });
    expect(interpreted(graph, { ...outside, inInterface: 'eth0' })).toEqual({ drop: 1 });
    expect(carried(at ?? { routes: [] }, outside.source)).toEqual([['reject', 1]]);
    const reasons = state.frontends.flatMap(({ served }) =>
      'reason' in served ? served.reason : [],
    );
    expect(reasons).toEqual(['no address of this machine']);
  });
});
