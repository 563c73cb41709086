/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import { eventually, isSlow } from '../support/node-lab.ts';
import type { Suite } from './contract-suite.ts';

// Far more than the 100 that xt_recent remembers; fewer where each request costs a lot.
const clients = Array.from(
  { length: isSlow ? 60 : 300 },
  (_, i) => `198.18.${40 + Math.floor(i / 200)}.${1 + (i % 200)}`,
);
export const everybody = ['pod-a', 'pod-b', 'pod-c', 'remote'] as const;

/** Whom each of many clients meets at an address. */
export async function homes(
  suite: Suite,
  to: string,
  askers: readonly string[] = clients,
): Promise<readonly string[]> {
  const answers: string[] = [];
  for (let i = 0; i < askers.length; i += 50) {
    const batch = askers
      .slice(i, i + 50)
      .map(async (from) => suite.lab.ask('client', { to, port: 80, from, timeoutMs: 3000 }));
    answers.push(
      ...(await Promise.all(batch)).map((each) =>
        typeof each === 'string' ? each : each.answeredBy,
      ),
    );
  }
  return answers;
}

/** Affinity; over a restart, the tests of restarts ask. */
export function sticking(suite: Suite): void {
  suite.test('affinity', 'a client keeps its pod, and loses it with the affinity', async () => {
    await suite.publish('sticky', { host: 40, affinitySeconds: 10_800, pods: everybody });
    const target = { to: '10.96.0.40', port: 80 };
    const first = await suite.answers('pod-a', target);
    expect(await suite.lab.tally('pod-a', target, 40)).toEqual({ [first.answeredBy]: 40 });
    await suite.publish('sticky', { host: 40, pods: everybody });
    await suite.answeredBy('pod-a', target, everybody);
  });

  suite.test('affinity-expiry', 'after its time-out a client may meet another pod', async () => {
    await suite.publish('brief', { host: 41, affinitySeconds: 1, pods: everybody });
    const target = { to: '10.96.0.41', port: 80 };
    const first = await suite.answers('client', target);
    expect((await suite.lab.tally('client', target, 20))[first.answeredBy]).toBe(20);
    // A client that asks is remembered anew: each is asked once more only, the others wait for their turn.
    const crowd = clients.slice(0, 120);
    const before = await homes(suite, target.to, crowd);
    expect(new Set(before)).toEqual(new Set(everybody));
    // The other way round: where pods take turns, each might meet its own again in the same order.
    const turns = crowd.map((from, n) => ({ from, before: before[n] })).toReversed();
    const moved = await eventually(
      async () => {
        const value = turns.shift();
        if (value === undefined) throw new Error('each client has met its pod again');
        const [now] = await homes(suite, target.to, [value.from]);
        return { ...value, now };
      },
      (seen) => seen.now !== seen.before,
    );
    expect(everybody).toContain(moved.now);
  });

  suite.test('affinity-300', 'many clients keep their pods over a rewrite', async () => {
    await suite.publish('crowd', { host: 42, affinitySeconds: 10_800, pods: everybody });
    await suite.answers('client', { to: '10.96.0.42', port: 80 });
    const before = await homes(suite, '10.96.0.42');
    expect(new Set(before)).toEqual(new Set(everybody));
    await suite.publish('crowd2', { host: 43, pods: ['pod-b'] });
    await suite.publish('crowd', {
      host: 42,
      affinitySeconds: 10_800,
      externalIPs: ['203.0.113.42'],
      pods: everybody,
    });
    await suite.answers('client', { to: '10.96.0.43', port: 80 });
    if (!suite.deviates('places')) await suite.answers('client', { to: '203.0.113.42', port: 80 });
    expect(await homes(suite, '10.96.0.42')).toEqual(before);
  });
}
