// Agents in ipvs mode on a fake node, one after the other, and what they leave in its kernel.
import type { SyncReport } from '../../src/backends/sync-report.ts';
import { IpvsBackend } from '../../src/backends/ipvs/backend.ts';
import type { IpvsState } from '../../src/backends/ipvs/state.ts';
import type { Clock } from '../../src/clock.ts';
import type { ToolRunner } from '../../src/host/run-tool.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { FakeIpvsNode } from './fake-ipvs-node.ts';
import { legacyTools, noLock } from './fake-tool-runner.ts';
import { emptyDelta, emptyGraph } from './iptables-states.ts';

/** What every backend of a node has. */
export const backendParts = (node: FakeIpvsNode, clock: Clock) => ({
  family: 'ipv4' as const,
  tools: node.tools as ToolRunner,
  iptables: {
    ...legacyTools,
    iptables: 'iptables',
    restore: 'iptables-restore',
    save: 'iptables-save',
  },
  log: silentLog,
  lockPaths: noLock,
  clock,
  instanceId: 'one',
});

/** What an agent may have that others have not. */
export interface AgentOptions {
  readonly clock: Clock;
  readonly tools?: ToolRunner;
  readonly drainSeconds?: number;
}

/** Starts an agent that knows nothing of those before it. What it gives makes the node agree with a state. */
export function startAgent(
  node: FakeIpvsNode,
  { clock, tools = node.tools, drainSeconds = 60 }: AgentOptions,
): (state: IpvsState) => Promise<SyncReport> {
  const { signal } = new AbortController();
  const wanted: { state: IpvsState | undefined } = { state: undefined };
  const backend = new IpvsBackend({
    ...backendParts(node, clock),
    tools,
    lowering: { lower: () => wanted.state as IpvsState },
    excludeCidrs: [],
    drainSeconds,
    lifetime: AbortSignal.abort(),
    readTable: node.readTable,
  });
  return async (state) => {
    wanted.state = state;
    return backend.sync(emptyGraph, emptyDelta, signal);
  };
}

/** A node on which nothing but a state has ever been. */
export async function nodeInState(state: IpvsState, options: AgentOptions): Promise<FakeIpvsNode> {
  const node = new FakeIpvsNode();
  await startAgent(node, options)(state);
  return node;
}

/** All that a node's kernel holds, in one order whatever the way there, and without who wrote it last. */
export function kernelOf(node: FakeIpvsNode) {
  const rules = node.save().replaceAll(/"switchyard generation [^"]*"/g, '"generation"');
  const sets = [...node.sets].map(([name, { members }]) => [name, ...[...members].toSorted()]);
  return {
    servers: node.balancing().toSorted(),
    addresses: [...(node.device ?? [])].toSorted(),
    sets: sets.map((words) => words.join(' ')).toSorted(),
    tables: rules.split(/(?<=^COMMIT\n)/m).map((table) => inOneOrder(table)),
  };
}

/** Chains by name; the rules of each stay as they are. */
function inOneOrder(table: string): readonly string[] {
  return table.split('\n').toSorted((a, b) => chainOf(a).localeCompare(chainOf(b)));
}

function chainOf(line: string): string {
  return /^(?::|-A )(\S+)/.exec(line)?.[1] ?? '';
}
