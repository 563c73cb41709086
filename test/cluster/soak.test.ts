// Forty seconds of the soak (test/soak): churn against a real API server leaves nothing behind, and nobody is
// answered wrongly meanwhile.
import { describe, expect, it } from 'vitest';
import { soak } from '../soak/soak.ts';
import { ControlPlane } from './control-plane.ts';

const blocked = ControlPlane.blocked();

describe.skipIf(blocked !== undefined)(
  `churn of Services and endpoints${blocked ? ` (${blocked})` : ''}`,
  () => {
    it.each(['iptables', 'userspace'] as const)(
      'in %s mode leaves rules, sets, processes and descriptors as they were, and no answer is wrong',
      async (mode) => {
        const report = await soak({
          seconds: 40,
          warmUpSeconds: 10,
          changesPerSecond: 20,
          questionsPerSecond: 40,
          slots: 40,
          // A machine that runs other things beside it is slow for seconds at a time.
          allowedLagMs: 10_000,
          patienceMs: 2000,
          sampleEveryMs: 2000,
          seed: 1,
          tools: 'nft',
          mode,
          conntrackWaitMs: undefined,
          heapToleranceMiB: undefined,
          onSample: () => {},
        });
        expect(report.problems).toEqual([]);
        const last = report.samples.at(-1);
        expect(last?.changes).toBeGreaterThan(100);
        expect(last?.questions).toBeGreaterThan(200);
        expect(last?.syncs).toBeGreaterThan(5);
      },
      240_000,
    );
  },
);
