import type { Draining } from '../../backends/ipvs/drains.ts';
import { conflictText } from '../../graph/claims.ts';
import type { RuleGraph } from '../../graph/rule-graph.ts';
import { familyLabel } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import type { ProgrammingReport } from '../programming-state.ts';
import type { FamilyStatus } from './status-document.ts';
import type { SyncFacts, WrittenSync } from './sync-record.ts';

/** What is known of one family. */
export interface FamilyFacts {
  readonly family: Family;
  readonly syncs: SyncFacts;
  readonly programming: ProgrammingReport;
  readonly healthy: boolean;
  /** undefined where nothing can drain. */
  readonly draining: Draining | undefined;
}

/** One family's part of the status. */
export function familyStatus(facts: FamilyFacts): FamilyStatus {
  const { family, syncs, programming, healthy, draining } = facts;
  const { last, lastFullMs, pendingSinceMs, written } = syncs;
  return {
    family: familyLabel(family),
    healthy,
    syncs: syncs.syncs,
    lastSync: last
      ? { at: timeText(last.atMs), seconds: last.durationMs / 1000, full: last.isFull }
      : null,
    lastFullSync: orNull(lastFullMs),
    pendingSince: orNull(pendingSinceMs),
    failure: failureOf(programming),
    ...counts(written),
    programmed: programming.programmed,
    unfinished: programming.unfinished.map(({ sinceMs, ...each }) => ({
      ...each,
      since: timeText(sinceMs),
    })),
    withoutRules: withoutRules(programming),
    conflicts: written?.graph.conflicts.map(conflictText) ?? [],
    draining: draining
      ? { servers: draining.count, oldestSeconds: Math.round(draining.oldestMs / 1000) }
      : null,
  };
}

/** As all times of the status are written. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function orNull(ms: number | undefined): string | null {
  return ms === undefined ? null : timeText(ms);
}

function failureOf({ failure }: ProgrammingReport): FamilyStatus['failure'] {
  if (failure === undefined) return null;
  const { reason, hint = null, sinceMs } = failure;
  return { reason, hint, since: timeText(sinceMs) };
}

function withoutRules({ skipped }: ProgrammingReport): FamilyStatus['withoutRules'] {
  const all = Array.from(skipped, ([service, reason]) => ({ service, reason }));
  return all.toSorted((a, b) => (a.service < b.service ? -1 : 1));
}

function counts(
  written: WrittenSync | undefined,
): Pick<FamilyStatus, 'services' | 'servicePorts' | 'endpoints' | 'frontends' | 'rules'> {
  if (written === undefined) {
    return { services: 0, servicePorts: 0, endpoints: 0, frontends: 0, rules: {} };
  }
  const { graph, changes, report } = written;
  const { servicePorts } = changes;
  return {
    services: new Set(servicePorts.values().map(({ service }) => service)).size,
    servicePorts: servicePorts.size,
    endpoints: endpointCount(graph),
    frontends: graph.frontends.size,
    rules: report.rulesTotal,
  };
}

/** Of all pools: an endpoint that is in several counts several times. */
function endpointCount({ pools }: RuleGraph): number {
  let count = 0;
  for (const { endpoints } of pools.values()) count += endpoints.length;
  return count;
}
