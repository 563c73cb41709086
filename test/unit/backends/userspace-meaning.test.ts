import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeBelievePorts, renderUserspace } from '../../../src/backends/userspace/render.ts';
import { defaultUserspaceOptions } from '../../../src/backends/userspace/state.ts';
import type {
  ListenerPort,
  ListenerPorts,
  UserspaceOptions,
  WantedListeners,
} from '../../../src/backends/userspace/state.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import type { Family } from '../../../src/ip/address.ts';
import type { PortRange } from '../../../src/ip/port-range.ts';
import type { ListenerKey } from '../../../src/relay/relay.ts';
import { attempts, nodeContexts, servicePortLists } from '../../support/arbitraries.ts';
import { byKey } from '../../support/service-ports.ts';
import { meantByUserspace } from '../../support/userspace-deviations.ts';
import { parseUserspace } from '../../support/userspace-simulator/parse.ts';
import { simulatedShares } from '../../support/userspace-simulator/shares.ts';
import { userspaceState } from '../../support/userspace-states.ts';

// The rendered text, walked from the client over portal and listener to the pool, against the meaning of the graph.

const range = { first: 20_000, last: 20_059 };

/** Ports in order, but for listeners that could not be opened. */
function portsBut(
  unopened: readonly number[],
  among?: PortRange,
): (listeners: WantedListeners) => ListenerPorts {
  return (listeners) => {
    const refused = [...listeners.keys()]
      .toSorted()
      .filter((_, i) => unopened.includes(i))
      .map((key): [ListenerKey, ListenerPort] => [key, { refused: 'EADDRINUSE' }]);
    return makeBelievePorts(listeners, among).with(new Map(refused));
  };
}

const cases = (family: Family) =>
  fc.tuple(nodeContexts(family), servicePortLists(family)).chain(([node, list]) => {
    // past the portals, at a port that may be a listener's
    const past = fc.record({
      attempt: attempts(family, list),
      port: fc.integer({ min: range.first, max: range.last + 10 }),
    });
    const attempt = fc.oneof(
      { weight: 8, arbitrary: attempts(family, list) },
      {
        weight: 1,
        arbitrary: past.map(({ attempt: { source, protocol, inInterface }, port }) => {
          const destination = node.nodeAddress ?? source;
          return { source, protocol, inInterface, destination, port };
        }),
      },
    );
    return fc.record({
      list: fc.constant(list),
      node: fc
        .constantFrom(true, true, true, true, true, false)
        .map((has) => ({ ...node, nodeAddress: has ? node.nodeAddress : undefined })),
      attempt,
      unopened: fc.array(fc.nat(20), { maxLength: 3 }),
      /** Which listener's own port is asked, past the portals. */
      past: fc.option(fc.nat(20), { freq: 5 }),
      policy: fc.constantFrom('ACCEPT' as const, 'DROP' as const),
    });
  });

describe.each(['ipv4', 'ipv6'] as const)('the userspace text for %s', (family) => {
  it.each(['ipset', 'range'] as const)(
    'means what the graph means, but for the deviations (guard by %s)',
    (guard) => {
      const among = guard === 'range' ? range : undefined;
      const features = { comments: 'auto' as const, guard: among ?? ('ipset' as const) };
      const options: UserspaceOptions = { ...defaultUserspaceOptions, features };
      fc.assert(
        fc.property(cases(family), ({ node, list, attempt: drawn, unopened, past, policy }) => {
          const graph = compileAll(byKey(list), node);
          let ports: ListenerPorts | undefined;
          const state = userspaceState(
            graph,
            (listeners) => (ports = portsBut(unopened, among)(listeners)),
            options,
          );
          if (ports === undefined) throw new Error('no ports were chosen');
          const text = renderUserspace(state, ports, features);
          const parsed = parseUserspace(
            text.replace(
              /^\*filter$/m,
              `*filter\n:INPUT ${policy} [0:0]\n:FORWARD ${policy} [0:0]`,
            ),
          );
          const { address: destination = drawn.destination, port = drawn.port } =
            past === null ? {} : (parsed.listeners[past] ?? {});
          const attempt = { ...drawn, destination, port };
          const refused = new Set(state.refused.map(({ key }) => String(key)));
          const { shares: want } = meantByUserspace(graph, attempt, {
            listeners: parsed.listeners,
            unopened: (key) => 'refused' in (ports?.get(key as ListenerKey) ?? {}),
            guarded: among,
            policy,
          });
          const got = simulatedShares(parsed, node.localAddresses, attempt);
          expect(Object.keys(got).toSorted()).toEqual(Object.keys(want).toSorted());
          for (const [key, share] of Object.entries(want)) expect(got[key]).toBeCloseTo(share, 9);
          for (const { key } of parsed.listeners) expect(refused.has(key)).toBe(false);
        }),
        { numRuns: 200 },
      );
    },
  );
});
