import { describe, expect, it } from 'vitest';
import { nodeContext } from '../../support/service-ports.ts';
import { exposed, inShort, local, send, sources, vips } from './send.ts';
import type { Source, Vip } from './send.ts';

const clusterIPs = ['clusterIP'] as const;
const outer = ['nodePort', 'loadBalancer', 'external'] as const;

describe('the traffic matrix, one endpoint here (L) and one elsewhere (R)', () => {
  const rows: readonly (readonly [Source, readonly Vip[], string, string, string])[] = [
    // source, destination, both policies Cluster, external Local, internal Local
    ['pod', clusterIPs, 'L,R', 'L,R', 'L'],
    ['node', clusterIPs, 'L,R masq', 'L,R masq', 'L masq'],
    ['outside', clusterIPs, 'L,R masq', 'L,R masq', 'L masq'],
    ['pod', outer, 'L,R masq', 'L,R', 'L,R masq'],
    ['node', outer, 'L,R masq', 'L,R masq', 'L,R masq'],
    ['outside', outer, 'L,R masq', 'L', 'L,R masq'],
  ];
  const cells = rows.flatMap(([source, destinations, both, external, internal]) =>
    destinations.flatMap((vip) => [
      { source, vip, policy: 'both Cluster', expected: both, overrides: {} },
      {
        source,
        vip,
        policy: 'external Local',
        expected: external,
        overrides: { externalPolicy: 'Local' } as const,
      },
      {
        source,
        vip,
        policy: 'internal Local',
        expected: internal,
        overrides: { internalPolicy: 'Local' } as const,
      },
    ]),
  );
  it.each(cells)('$source → $vip, $policy: $expected', ({ source, vip, expected, overrides }) => {
    expect(inShort(send([exposed(overrides)], { from: sources[source], to: vips[vip] }))).toBe(
      expected,
    );
  });

  it.each(['Cluster', 'Local'] as const)(
    '127.0.0.1 → its own node port, external %s: any endpoint, masqueraded',
    (externalPolicy) => {
      const sent = { from: '127.0.0.1', to: '127.0.0.1:30080' };
      expect(inShort(send([exposed({ externalPolicy })], sent))).toBe('L,R masq');
    },
  );

  it.each(Object.values(vips))(
    'an endpoint that reaches itself through %s is masqueraded, the other is not',
    (to) => {
      const outcomes = send([exposed({ externalPolicy: 'Local' })], { from: local.address, to });
      expect(
        outcomes.map((each) => each.kind === 'endpoint' && [each.hairpin, each.masquerade]),
      ).toEqual([
        [true, true],
        [false, false],
      ]);
    },
  );

  it.each([
    ['node', 'clusterIP', 'Cluster', 'L,R'],
    ['outside', 'clusterIP', 'Cluster', 'L,R'],
    ['pod', 'loadBalancer', 'Local', 'L'],
    ['node', 'loadBalancer', 'Local', 'L,R masq'],
    ['outside', 'nodePort', 'Cluster', 'L,R masq'],
  ] as const)(
    'without a pod detector: %s → %s, external %s: %s',
    (source, vip, externalPolicy, expected) => {
      const node = nodeContext({ podDetector: { kind: 'none' } });
      const outcomes = send(
        [exposed({ externalPolicy })],
        { from: sources[source], to: vips[vip] },
        node,
      );
      expect(inShort(outcomes)).toBe(expected);
    },
  );

  it.each([
    ['pod', 'clusterIP', 'L,R masq'],
    ['pod', 'loadBalancer', 'L,R'],
    ['outside', 'loadBalancer', 'L'],
  ] as const)(
    'masqueradeAll hides cluster IP traffic and nothing else: %s → %s: %s',
    (source, vip, expected) => {
      const node = nodeContext({ masqueradeAll: true });
      const sent = { from: sources[source], to: vips[vip] };
      expect(inShort(send([exposed({ externalPolicy: 'Local' })], sent, node))).toBe(expected);
    },
  );
});
