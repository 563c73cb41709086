// The judge of the soak: an answer is right where some state of its time explains it, and wrong otherwise.
import { describe, expect, it } from 'vitest';
import { Ledger } from '../soak/ledger.ts';
import { frontendsOf } from '../soak/objects.ts';
import type { ServiceAnswer } from '../soak/objects.ts';

const at = '10.96.0.7 80 TCP';

function ledger(): Ledger {
  const made = new Ledger(5000);
  made.record(at, new Set(['timeout']), 0, 0);
  made.record(at, new Set(['pod-a']), 10_000, 10_100);
  made.record(at, undefined, 40_000, 40_100);
  made.record(at, new Set(['refused']), 60_000, 60_100);
  return made;
}

describe('an answer', () => {
  it.each([
    ['of the present state', 'pod-a', 20_000, 20_010, { right: true, lagMs: 0 }],
    ['of the old state, soon enough', 'timeout', 12_000, 14_000, { right: true, lagMs: 1900 }],
    [
      'of the old state, too late',
      'timeout',
      15_200,
      17_200,
      { right: false, expected: ['pod-a'] },
    ],
    ['of the new state while it is made', 'pod-a', 9900, 10_050, { right: true, lagMs: 0 }],
    ['of a state to come', 'pod-a', 8000, 8010, { right: false, expected: ['timeout'] }],
    ['of nobody', 'pod-b', 12_000, 12_010, { right: false, expected: ['pod-a', 'timeout'] }],
    ['while nobody knows', 'pod-b', 50_000, 50_010, { right: true, lagMs: 0 }],
    ['long after nobody knew', 'pod-b', 66_000, 66_010, { right: false, expected: ['refused'] }],
  ])('%s', (_what, answer, askedMs, answeredMs, verdict) => {
    expect(ledger().judge({ frontend: at, answer, askedMs, answeredMs })).toEqual(verdict);
  });

  it('needs no more than is kept of the past', () => {
    const pruned = ledger();
    pruned.prune(15_000);
    const question = { frontend: at, answer: 'timeout', askedMs: 15_000, answeredMs: 15_010 };
    expect(pruned.judge(question).right).toBe(true);
    pruned.prune(30_000);
    expect(pruned.judge(question).right).toBe(false);
  });
});

it('frontends of a Service answer by family, policy and readiness', () => {
  const service: ServiceAnswer = {
    spec: {
      clusterIPs: ['10.96.0.7', 'fd00:10:96::7'],
      ipFamilies: ['IPv4', 'IPv6'],
      externalTrafficPolicy: 'Local',
      type: 'NodePort',
      ports: [{ port: 80, nodePort: 30_080 }],
    },
  };
  const slices = [{ family: 'IPv4', port: 8080, ready: ['remote'], unready: ['pod-a'] }] as const;
  const answers = frontendsOf(service, 'TCP', slices).map(
    ({ to, port, answers: who, whenGone }) => [to, port, [...who], whenGone],
  );
  expect(answers).toEqual([
    ['10.96.0.7', 80, ['remote'], 'timeout'],
    ['fd00:10:96::7', 80, ['refused'], 'timeout'],
    ['192.0.2.1', 30_080, ['timeout'], 'refused'],
    ['2001:db8::1', 30_080, ['refused'], 'refused'],
  ]);
});
