import type { Clock } from '../../clock.ts';
import type { ProxyConfig } from '../../config/proxy-config.ts';
import type { ListenerStats } from '../../relay/relay.ts';
import type { ConfigState } from '../../telemetry/config-metrics.ts';
import type { HealthReport } from '../health.ts';
import { plainUrl } from '../plain-url.ts';
import { familyStatus, timeText } from './family-status.ts';
import type { FamilyFacts } from './family-status.ts';
import type { FamilyStatus, ListStatus, SourceStatus, StatusDocument } from './status-document.ts';

/** What the agent knows of itself at a moment. */
export interface AgentFacts {
  readonly version: string;
  readonly pid: number;
  readonly config: Pick<ProxyConfig, 'mode' | 'source'>;
  readonly nodeName: string;
  readonly nodeIPs: readonly string[];
  readonly startedMs: number;
  readonly configuration: ConfigState | undefined;
  readonly health: HealthReport;
  /** The API server's address. */
  readonly server: string | undefined;
  readonly lists: readonly ListStatus[];
  /** Why there is nothing to sync yet; undefined when there is. */
  readonly starting: string | undefined;
  readonly families: readonly Omit<FamilyFacts, 'healthy'>[];
  readonly listeners: ReadonlyMap<unknown, Pick<ListenerStats, 'active'>> | undefined;
}

/** The status, of what is known. */
export function statusOf(facts: AgentFacts, clock: Pick<Clock, 'now'>): StatusDocument {
  const families = facts.families.map((each) =>
    familyStatus({
      ...each,
      healthy: facts.health.families.get(each.family)?.healthy ?? true,
    }),
  );
  const waiting = startReason(facts, families);
  const reasons = waiting === undefined ? families.flatMap(familyReasons) : [waiting];
  return {
    version: facts.version,
    pid: facts.pid,
    mode: facts.config.mode,
    node: {
      name: facts.nodeName,
      addresses: facts.nodeIPs,
      eligible: facts.health.nodeEligible,
    },
    now: timeText(clock.now()),
    started: timeText(facts.startedMs),
    configuration: configurationOf(facts),
    state: stateOf(waiting, reasons),
    reasons,
    source: sourceOf(facts),
    families,
    relay: relayOf(facts.listeners),
  };
}

function configurationOf({ configuration: known }: AgentFacts): StatusDocument['configuration'] {
  if (known === undefined) return null;
  return { sha256: known.sha256, since: timeText(known.sinceMs), newest: known.isNewest };
}

function stateOf(waiting: string | undefined, reasons: readonly string[]): StatusDocument['state'] {
  if (waiting !== undefined) return 'starting';
  return reasons.length === 0 ? 'healthy' : 'unhealthy';
}

/** Why rules are not in yet; a sync that fails is no start any more. */
function startReason(
  { starting, lists }: AgentFacts,
  families: readonly FamilyStatus[],
): string | undefined {
  if (starting !== undefined) return starting;
  if (families.some(({ failure }) => failure !== null)) return undefined;
  const first = families.filter(({ lastSync }) => lastSync === null);
  if (first.length === 0) return undefined;
  const missing = lists.filter(({ complete, name }) => !complete && name !== 'servicecidrs');
  if (missing.length > 0) {
    return `waiting for the first list of ${missing.map(({ name }) => name).join(', ')}`;
  }
  return `the first rules of ${first.map(({ family }) => family).join(' and ')} are not in yet`;
}

function familyReasons({ family, healthy, failure, unfinished }: FamilyStatus): readonly string[] {
  const reasons: string[] = [];
  if (failure !== null) reasons.push(`${family}: sync failed: ${failure.reason}`);
  else if (!healthy) reasons.push(`${family}: a change waits for more than two sync periods`);
  const failed = unfinished.filter(({ state }) => state === 'failed').length;
  if (failed > 0) {
    reasons.push(`${family}: ${failed} service${failed > 1 ? 's' : ''} not programmed`);
  }
  return reasons;
}

function sourceOf({ config: { source }, server, lists }: AgentFacts): SourceStatus {
  switch (source.kind) {
    case 'kubernetes':
      return { kind: source.kind, where: server ?? '', lists };
    case 'files':
      return { kind: source.kind, where: source.paths.join(', '), lists };
    case 'url':
      return { kind: source.kind, where: plainUrl(source.url), lists };
    default:
      return source satisfies never;
  }
}

function relayOf(listeners: AgentFacts['listeners']): StatusDocument['relay'] {
  if (listeners === undefined) return null;
  let connections = 0;
  for (const { active } of listeners.values()) connections += active;
  return { listeners: listeners.size, connections };
}
