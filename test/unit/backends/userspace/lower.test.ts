import { describe, expect, it } from 'vitest';
import { membersOf } from '../../../../src/backends/iptables/diff-sets.ts';
import { renderTables } from '../../../../src/backends/iptables/render.ts';
import { defaultUserspaceOptions } from '../../../../src/backends/userspace/state.ts';
import type { UserspaceState } from '../../../../src/backends/userspace/state.ts';
import { compileAll } from '../../../../src/graph/compile.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import type { ListenerKey, RelayPool } from '../../../../src/relay/relay.ts';
import type { ServicePort } from '../../../../src/services/service-port.ts';
import {
  address,
  byKey,
  endpoint,
  nodeContext,
  servicePort,
} from '../../../support/service-ports.ts';
import { portsOf, userspaceState } from '../../../support/userspace-states.ts';

// What of a graph becomes a listener, a portal or a refusal, and what is not asked of the kernel.

const remote = endpoint('10.244.2.6:8080');
const local = endpoint('10.244.1.5:8080', { local: true });

function lowered(
  ports: readonly ServicePort[],
  overrides: Partial<NodeContext> = {},
  ...more: readonly [Parameters<typeof userspaceState>[1]?, Parameters<typeof userspaceState>[2]?]
): UserspaceState {
  return userspaceState(compileAll(byKey(ports), nodeContext(overrides)), ...more);
}

function lines({ rules }: UserspaceState): readonly string[] {
  return renderTables(rules);
}

/** The rules of a chain. */
function chain(state: UserspaceState, name: string): readonly string[] {
  const start = `-A ${name} `;
  return lines(state).flatMap((line) => (line.startsWith(start) ? line.slice(start.length) : []));
}

function poolOf({ listeners }: UserspaceState, key: string): RelayPool {
  const to = listeners.get(key as ListenerKey)?.routes[0]?.to;
  if (to === undefined || to === 'refuse') throw new Error(`no pool at ${key}`);
  return to;
}

function verdicts(state: UserspaceState): readonly string[] {
  return lines(state).flatMap((line) =>
    line.includes('203.0.113.1') ? (/-j (REJECT|DROP)/.exec(line)?.[1] ?? []) : [],
  );
}

describe('a listener', () => {
  it('stands for a list of endpoints, however many frontends lead to it', () => {
    const port = servicePort({
      nodePort: 30_080,
      externalIPs: ['203.0.113.9'],
      externalPolicy: 'Local',
      endpoints: [remote, local],
    });
    expect([...lowered([port]).listeners.keys()].toSorted()).toEqual([
      'default/web:/TCP cluster ipv4',
      'default/web:/TCP local ipv4',
    ]);
  });

  it('has the settings of its Service, or the usual ones', () => {
    const balancing = {
      weights: new Map([['10.244.1.5', 3]]),
      drainSeconds: 0,
      udpTimeoutMs: 30_000,
      proxyProtocol: true,
    } as const;
    const both = (['TCP', 'UDP'] as const).map((protocol) =>
      servicePort({ protocol, balancing, affinitySeconds: 60, endpoints: [local, remote] }),
    );
    const state = lowered([
      ...both,
      servicePort({ portName: 'usual', port: 81, endpoints: [local] }),
    ]);
    expect(poolOf(state, 'default/web:/TCP cluster ipv4')).toEqual({
      endpoints: [
        { address: '10.244.1.5', port: 8080, weight: 3 },
        { address: '10.244.2.6', port: 8080, weight: 1 },
      ],
      affinitySeconds: 60,
      udpIdleMs: 30_000,
      drainSeconds: 0,
      proxyProtocol: true,
    });
    // a datagram has no room for a header
    expect(poolOf(state, 'default/web:/UDP cluster ipv4').proxyProtocol).toBe(false);
    expect(poolOf(state, 'default/web:usual/TCP cluster ipv4')).toMatchObject({
      affinitySeconds: undefined,
      udpIdleMs: 250,
      drainSeconds: 300,
      proxyProtocol: false,
    });
  });
});

describe('a portal', () => {
  it('keeps every source, whatever is masqueraded in iptables mode', () => {
    const state = lowered([servicePort({ endpoints: [remote] })], { masqueradeAll: true });
    expect(chain(state, 'KUBE-SERVICES')[0]).toBe(
      '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j DNAT --to-destination 192.168.0.2:20001',
    );
    expect(lines(state).filter((line) => /MASQUERADE|MARK /.test(line))).toEqual([]);
  });

  it('leads to the listener of its family', () => {
    const port = servicePort({ clusterIP: 'fd96::10', endpoints: [endpoint('[fd02::1]:8080')] });
    const nodeAddress = address('2001:db8::1');
    const state = lowered([port], {
      family: 'ipv6',
      podDetector: { kind: 'none' },
      nodeAddress,
      localAddresses: [nodeAddress],
      nodePortAddresses: { kind: 'all', loopback: false },
    });
    expect(chain(state, 'KUBE-SERVICES')[0]).toContain(
      '-j DNAT --to-destination [2001:db8::1]:20001',
    );
    const sets = Array.from(state.rules.sets.values(), (set) => [set.name, ...membersOf(set)]);
    expect(sets).toEqual([['KUBE-6-USERSPACE-PORTS', '2001:db8::1,tcp:20001']]);
  });

  it('needs nothing of what iptables mode does behind it, and empties what it may have left', () => {
    const state = lowered([servicePort({ nodePort: 30_080, endpoints: [remote] })]);
    for (const name of ['KUBE-POSTROUTING', 'KUBE-MARK-MASQ', 'KUBE-FORWARD']) {
      expect(lines(state)).toContain(`:${name} - [0:0]`);
      expect(lines(state).filter((line) => /^-[AI]/.test(line) && line.includes(name))).toEqual([]);
    }
    expect(lines(state).filter((line) => line.includes('KUBE-FIREWALL'))).toEqual([]);
  });

  it('opens the port of a health check as iptables mode does', () => {
    const port = servicePort({
      nodePort: 30_080,
      externalPolicy: 'Local',
      healthCheckNodePort: 32_000,
      endpoints: [remote],
    });
    expect(chain(lowered([port]), 'KUBE-NODEPORTS')).toContain(
      '-p tcp -m comment --comment "default/web health check node port" -m tcp --dport 32000 -j ACCEPT',
    );
  });
});

describe('the guard', () => {
  it('accepts what came through a portal, and drops what else is for a listener', () => {
    const state = lowered([servicePort({ endpoints: [remote] })]);
    expect(chain(state, 'KUBE-USERSPACE')).toEqual([
      '-m set ! --match-set KUBE-USERSPACE-PORTS dst,dst -j RETURN',
      '-m comment --comment "through a portal" -m conntrack --ctstate DNAT -j ACCEPT',
      '-m comment --comment "past the portals" -j DROP',
    ]);
    expect(lines(state)).toContain(
      '-I INPUT 1 -m comment --comment "kubernetes userspace proxy ports" -j KUBE-USERSPACE',
    );
  });

  it('is for the whole range where there are no sets', () => {
    const features = { guard: { first: 20_000, last: 20_099 }, comments: 'auto' } as const;
    const options = { ...defaultUserspaceOptions, features };
    const state = lowered([servicePort({ endpoints: [remote] })], {}, undefined, options);
    expect(state.rules.sets.size).toBe(0);
    expect(chain(state, 'KUBE-USERSPACE').slice(0, 2)).toEqual([
      '-d 192.168.0.2/32 -p tcp -m comment --comment "through a portal" -m conntrack --ctstate DNAT -m tcp --dport 20000:20099 -j ACCEPT',
      '-d 192.168.0.2/32 -p tcp -m comment --comment "past the portals" -m conntrack --ctstate NEW -m tcp --dport 20000:20099 -j DROP',
    ]);
    expect(chain(state, 'KUBE-USERSPACE')[2]).toContain('-p udp');
  });
});

describe('a refusal', () => {
  it('is what a listener becomes that could not be opened, and is reported with the reason', () => {
    const words = 'port 20001 is in use (EADDRINUSE)';
    const state = lowered([servicePort({ nodePort: 30_080, endpoints: [remote] })], {}, (all) =>
      portsOf(Array.from(all.keys(), (key) => [key, { refused: words }])),
    );
    expect(state.refused).toMatchObject([
      { key: 'default/web:/TCP cluster ipv4', origin: { name: 'default/web' }, reason: words },
    ]);
    expect(chain(state, 'KUBE-SERVICES').filter((rule) => rule.includes('10.96.0.10'))).toEqual([
      `-d 10.96.0.10/32 -p tcp -m comment --comment "default/web has no listener (${words})" -m tcp --dport 80 -j REJECT --reject-with tcp-reset`,
    ]);
    expect(lines(state).filter((line) => line.includes('DNAT --to'))).toEqual([]);
  });

  it('is all there is of SCTP, and of a family of which the node has no address', () => {
    const sctp = lowered([servicePort({ protocol: 'SCTP', endpoints: [remote] })]);
    expect(sctp.listeners.size).toBe(0);
    expect(sctp.refused.map(({ reason }) => reason)).toEqual(['SCTP has no sockets here']);
    const nowhere = lowered([servicePort({ endpoints: [remote] })], { nodeAddress: undefined });
    expect(nowhere.refused.map(({ reason }) => reason)).toEqual([
      'this node has no IPv4 address to listen at',
    ]);
    expect([...nowhere.rules.sets.values()].flatMap((set) => [...membersOf(set)])).toEqual([]);
  });

  it('is for everybody, source ranges or not, unless another list is served there', () => {
    const ranged = {
      loadBalancerIPs: ['203.0.113.1'],
      sourceRanges: ['198.51.100.0/24'],
      externalPolicy: 'Local',
      endpoints: [remote, local],
    } as const;
    const but = (which: string) =>
      lowered([servicePort(ranged)], {}, (all) =>
        portsOf(
          Array.from(all.keys(), (key, i) => [
            key,
            key.includes(which) ? { refused: 'EMFILE' } : { port: 20_001 + i },
          ]),
        ),
      );
    expect(verdicts(but('default'))).toEqual(['REJECT']);
    expect(verdicts(but('local')).toSorted()).toEqual(['DROP', 'DROP']);
  });
});
