// Which frontends are closed while a sync changes them.
import { describe, expect, it } from 'vitest';
import { changingFrontends } from '../../../../src/backends/ipvs/changing-frontends.ts';
import { kernelServer } from '../../../../src/backends/ipvs/diff.ts';
import type { KernelServer } from '../../../../src/backends/ipvs/diff.ts';
import { Drains } from '../../../../src/backends/ipvs/drains.ts';
import { ipvsSet } from '../../../../src/backends/ipvs/sets.ts';
import type { IpvsState, VirtualServer } from '../../../../src/backends/ipvs/state.ts';
import type { Address } from '../../../../src/ip/address.ts';
import { smallState, virtualServer } from '../../../support/small-ipvs-states.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const at = '192.0.2.1:30001';
const own = '192.0.2.1' as Address;
const web = virtualServer('web', at, ['10.1.0.1:80']);
const dns = virtualServer('dns', at, ['10.1.0.2:80']);
const dropped = ipvsSet('DROP-OTHERS', 'ipv4');

const drains = new Drains({ clock: new VirtualClock(), drainSeconds: 60 });

/** As this run knows it, or as another run has left it. */
function inKernel(server: VirtualServer, isKnown: boolean): KernelServer {
  const reals = [...server.realServers].map(
    ([key, real]) => [key, { ...real, isMasqueraded: true, connections: 0 }] as const,
  );
  const found = kernelServer({
    ...server,
    persistentTicks: undefined,
    realServers: new Map(reals),
  });
  return { ...found, wanted: isKnown ? server : undefined };
}

const member = ['192.0.2.1,tcp:30001'];

/** `drops`: others' packets are dropped. */
function stateOf(server: VirtualServer | undefined, drops: boolean): IpvsState {
  const state = smallState(server === undefined ? [] : [server]);
  if (!drops) return state;
  const set = { name: dropped, create: '', members: member };
  const sets = new Map([...state.rules.sets, [dropped, set] as const]);
  return { ...state, rules: { ...state.rules, sets } };
}

/** The keys of what is closed; others' packets were dropped before, or come to be (`comes`). */
function closed(
  from: VirtualServer | KernelServer | undefined,
  to: VirtualServer | undefined,
  { isKnown = true, bound = [] as readonly Address[], staysBound = false, comes = false } = {},
): readonly string[] {
  const key = (to ?? from ?? web).key;
  const state = stateOf(to, comes);
  const have = from && ('origin' in from ? inKernel(from, isKnown) : from);
  const target = drains.target(have, to, () => false);
  const places = changingFrontends({
    targets: new Map([[key, target]]),
    state: { ...state, addresses: staysBound ? state.addresses : new Map() },
    there: new Map(have === undefined ? [] : [[key, have]]),
    bound: new Map(bound.map((each) => [each, [32]])),
    membersBefore: (set) => (set === dropped && !comes ? member : undefined),
  });
  return places.map((place) => place.key);
}

describe('a frontend while it is changed', () => {
  it('is closed where it has no virtual server, and the address is the node’s', () => {
    expect(closed(undefined, web)).toEqual([web.key]);
    expect(closed(web, undefined)).toEqual([web.key]);
  });

  it('stays open where its address comes or goes with it', () => {
    expect(closed(undefined, web, { staysBound: true })).toEqual([]);
    expect(closed(web, undefined, { bound: [own] })).toEqual([]);
  });

  it.each([true, false])(
    'is closed where it passes from a Service that drops others’ packets to one that takes them (known: %s)',
    (isKnown) => {
      expect(closed(web, dns, { isKnown })).toEqual([web.key]);
    },
  );

  it.each([true, false])(
    'is closed where a Service comes to take others’ packets and loses a real server (known: %s)',
    (isKnown) => {
      const more = virtualServer('web', at, ['10.1.0.1:80', '10.1.0.3:80']);
      expect(closed(more, web, { isKnown })).toEqual([web.key]);
      expect(closed(web, more, { isKnown })).toEqual([]);
    },
  );

  it.each([true, false])(
    'is closed where others’ packets come to be dropped and it gains a real server (known: %s)',
    (isKnown) => {
      const more = virtualServer('web', at, ['10.1.0.1:80', '10.1.0.3:80']);
      expect(closed(web, dns, { isKnown, comes: true })).toEqual([web.key]);
      expect(closed(web, more, { isKnown, comes: true })).toEqual([web.key]);
      expect(closed(more, web, { isKnown, comes: true })).toEqual([]);
    },
  );

  it.each([true, false])('stays open where what goes was draining (known: %s)', (isKnown) => {
    const drained = drains.target(inKernel(web, isKnown), dns, () => false);
    const have = { ...inKernel(dns, isKnown), realServers: drained?.realServers ?? new Map() };
    expect([...have.realServers.values()].map(({ weight }) => weight)).toEqual([0, 1]);
    expect(closed(have, dns, { isKnown })).toEqual([]);
  });
});
