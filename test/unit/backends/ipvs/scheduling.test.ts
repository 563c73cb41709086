// Which scheduler a pool gets of all that are asked for, and what is said where it is not the first of them.
import { describe, expect, test } from 'vitest';
import type { IpvsOptions } from '../../../../src/backends/ipvs/options.ts';
import type { Balancing } from '../../../../src/services/balancing.ts';
import type { ServicePort } from '../../../../src/services/service-port.ts';
import { ipvsState, serverLines } from '../../../support/ipvs-states.ts';
import { address, endpoint, servicePort } from '../../../support/service-ports.ts';

const remote = endpoint('10.244.2.1:8080');
const local = endpoint('10.244.1.7:8080', { local: true });
const weights = new Map([['10.244.2.1', 3]]);

function asking(balancing: Balancing): ServicePort {
  return servicePort({ endpoints: [remote, local], balancing });
}

/** The virtual server, and what its Service does not get. */
function lowered(balancing: Balancing, options: Partial<IpvsOptions>): readonly unknown[] {
  const state = ipvsState([asking(balancing)], {}, options);
  return [serverLines(state)[0], ...state.shortfalls.map(({ reason }) => reason)];
}

/** A kernel that lacks schedulers. */
function without(...missing: readonly string[]): Partial<IpvsOptions> {
  return {
    schedulerProblem: ({ scheduler }) =>
      missing.includes(scheduler)
        ? {
            name: `scheduler ${scheduler}`,
            reason: 'not found',
            cure: `modprobe ip_vs_${scheduler}`,
          }
        : undefined,
  };
}

describe('weights', () => {
  test.each([
    ['rr', 'wrr'],
    ['lc', 'wlc'],
    ['sh', 'sh -b sh-fallback'],
    ['ovf', 'ovf'],
  ])('without a scheduler of their own count: %s of the node is %s', (usual, taken) => {
    expect(lowered({ weights }, { scheduler: usual })).toEqual([`-t 10.96.0.10:80 -s ${taken}`]);
  });

  test('that no endpoint has change nothing', () => {
    const others = new Map([['10.244.9.9', 3]]);
    expect(lowered({ weights: others }, { scheduler: 'rr' })).toEqual(['-t 10.96.0.10:80 -s rr']);
    expect(lowered({ weights: others }, { scheduler: 'dh' })).toEqual(['-t 10.96.0.10:80 -s dh']);
  });

  test.each([
    ['dh', { weights }],
    ['rr', { weights, scheduling: { scheduler: 'rr', flags: [] } }],
    ['lc', { weights, scheduling: { scheduler: 'lc', flags: [] } }],
  ] satisfies [string, Balancing][])('with %s do not count, which is said', (scheduler, asked) => {
    expect(lowered(asked, { scheduler: 'dh' })).toEqual([
      `-t 10.96.0.10:80 -s ${scheduler}`,
      `its weights do not count with the scheduler ${scheduler}: name one that heeds them (annotation switchyard.io/scheduler)`,
    ]);
  });

  test('are spoken of once for each service port, however many addresses it has', () => {
    const port = { ...asking({ weights }), externalIPs: ['203.0.113.9'].map(address) };
    const { shortfalls } = ipvsState([port], {}, { scheduler: 'dh' });
    expect(shortfalls.map(({ origin }) => origin.name)).toEqual([port.name]);
  });
});

/** The virtual server of a pool that asks for a scheduler, on a node that has another. */
function flagsOf(scheduling: Balancing['scheduling'], scheduler = 'rr'): unknown {
  return lowered(scheduling ? { scheduling } : {}, { scheduler })[0];
}

describe('flags', () => {
  test('where none are named are those without which clients are refused, or all meet one endpoint', () => {
    expect([flagsOf(undefined, 'sh'), flagsOf(undefined, 'mh')]).toEqual([
      '-t 10.96.0.10:80 -s sh -b sh-fallback',
      '-t 10.96.0.10:80 -s mh -b mh-fallback,mh-port',
    ]);
  });

  test('that are named stand alone, but that what drains is always passed by', () => {
    expect(flagsOf({ scheduler: 'mh', flags: ['mh-fallback'] })).toMatch(/ -b mh-fallback$/);
    expect(flagsOf({ scheduler: 'sh', flags: ['sh-port'] })).toMatch(/ -b sh-fallback,sh-port$/);
  });
});

describe('a scheduler that the kernel lacks', () => {
  const sh = { scheduling: { scheduler: 'sh', flags: ['sh-port'] } } as const;

  test('gives way to that of the node, without its flags', () => {
    expect(lowered(sh, without())).toEqual(['-t 10.96.0.10:80 -s sh -b sh-fallback,sh-port']);
    expect(lowered(sh, without('sh'))).toEqual([
      '-t 10.96.0.10:80 -s rr',
      'scheduler sh cannot be used (not found), rr is: modprobe ip_vs_sh',
    ]);
  });

  test('gives way to one that heeds weights, where there are any', () => {
    expect(lowered({ ...sh, weights }, without('sh'))[0]).toBe('-t 10.96.0.10:80 -s wrr');
  });

  test('and that stood in for the sake of weights: then they do not count', () => {
    const [line, reason] = lowered({ weights }, without('wrr'));
    expect(line).toBe('-t 10.96.0.10:80 -s rr');
    expect(reason).toMatch(/^scheduler wrr cannot be used .*; its weights do not count /);
  });

  test('of the node is not asked for: the mode does not start without it', () => {
    expect(lowered({}, without('rr'))).toEqual(['-t 10.96.0.10:80 -s rr']);
  });
});
