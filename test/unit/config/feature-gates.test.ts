import { describe, expect, it } from 'vitest';
import {
  gateStates,
  honouredGates,
  isKnownGate,
  proxyGates,
} from '../../../src/config/feature-gates.ts';
import { otherGates } from '../../../src/config/other-gates.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';

const states = (...argv: readonly string[]) => gateStates(parseFlags(proxyFlags, argv).flags);

describe('feature gates', () => {
  it('are each in one list: about a service proxy, or about something else', () => {
    const names = [...proxyGates.keys(), ...honouredGates.keys()];
    expect(names.filter((name) => otherGates.has(name))).toEqual([]);
    expect(names.filter((name) => proxyGates.has(name) && honouredGates.has(name))).toEqual([]);
    expect([...names, 'SidecarContainers'].every(isKnownGate)).toBe(true);
    expect(isKnownGate('Nope')).toBe(false);
  });

  it('are told as what the case is, whatever was asked for', () => {
    const asked = states('--feature-gates=TopologyAwareHints=false,KubeProxyIPVS=false');
    const names = asked.map(({ name }) => name);
    expect(names).toEqual(names.toSorted());
    expect(asked).toContainEqual({ name: 'TopologyAwareHints', stage: '', enabled: true });
    expect(asked).toContainEqual({ name: 'KubeProxyIPVS', stage: 'DEPRECATED', enabled: false });
    expect(states()).toContainEqual({ name: 'KubeProxyIPVS', stage: 'DEPRECATED', enabled: true });
  });
});
