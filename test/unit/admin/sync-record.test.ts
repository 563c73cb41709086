import { describe, expect, it } from 'vitest';
import type { SyncReport } from '../../../src/backends/sync-report.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import { SyncRecord } from '../../../src/proxy/admin/sync-record.ts';
import { nodeContext } from '../../support/service-ports.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const changes = { servicePorts: new Map(), skipped: new Map() };
const graph = compileAll(new Map(), nodeContext());
const report: SyncReport = {
  full: true,
  rulesTotal: {},
  rulesWritten: {},
  unprogrammed: [],
  refusedWrites: { full: 0, partial: 0 },
  failure: undefined,
};
async function fail(): Promise<void> {
  throw new Error('refused');
}

/** Job: what is told of syncs is true at any moment between them. */
describe('the record of a family’s syncs', () => {
  it('has a change pending from the request until a sync has done it', async () => {
    const clock = new VirtualClock();
    const record = new SyncRecord(clock);
    await clock.advance(1000);
    record.requested();
    await clock.advance(500);
    record.requested();
    expect(record.facts).toMatchObject({ pendingSinceMs: 1000, isRunning: false });
    await record.during(async () => {
      expect(record.facts).toMatchObject({ pendingSinceMs: 1000, isRunning: true });
      record.requested(); // too late for this one
      record.wrote({ graph, report, changes }, 20);
    });
    expect(record.facts).toMatchObject({
      pendingSinceMs: 1500,
      isRunning: false,
      syncs: 1,
      last: { atMs: 1500, durationMs: 20, isFull: true },
      lastFullMs: 1500,
    });
  });

  it('keeps what a failed sync was to do', async () => {
    const clock = new VirtualClock();
    const record = new SyncRecord(clock);
    record.requested();
    await clock.advance(1000);
    await expect(record.during(fail)).rejects.toThrow('refused');
    await clock.advance(1000);
    await expect(record.during(fail)).rejects.toThrow('refused');
    expect(record.facts).toMatchObject({ pendingSinceMs: 0, syncs: 2 });
    await record.during(async () => {});
    expect(record.facts.pendingSinceMs).toBeUndefined();
  });
});
