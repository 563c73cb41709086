import type { ComparedPart } from '../../backends/compared.ts';
import type { DesiredState } from '../../backends/desired.ts';
import type { Clock } from '../../clock.ts';
import type { Family } from '../../ip/address.ts';
import { readDesired } from '../../proxy/admin/desired.ts';
import type { AgentClient } from '../agent-client.ts';
import { differencesOf, editedParts } from './differences.ts';
import type { EditedPart } from './differences.ts';

/** So often is looked again where the agent wrote meanwhile. */
const attempts = 6;
const pauseMs = 500;

/** What a comparison gave, and whether the agent was still writing. */
export interface AgentComparison {
  readonly parts: readonly EditedPart[];
  readonly isSettled: boolean;
}

/**
 * Compares what a family's rules are with what the agent wants. Between the two looks the agent may write, so that what differs
 * is looked at again until nothing was written meanwhile.
 */
export async function compareByAgent(
  client: Pick<AgentClient, 'get'>,
  family: Family,
  compare: (desired: DesiredState) => Promise<readonly ComparedPart[]>,
  clock: Pick<Clock, 'sleep'>,
  signal: AbortSignal,
): Promise<AgentComparison> {
  for (let attempt = 1; ; attempt++) {
    const before = readDesired(await client.get('/v1/desired', { family }));
    const parts = editedParts(await compare(before.state));
    // What waits to be written is not among what was wanted yet.
    if (differencesOf(parts).length === 0) return { parts, isSettled: before.isSettled };
    const { syncs, isSettled } = readDesired(await client.get('/v1/desired', { family }));
    if (before.isSettled && isSettled && syncs === before.syncs) return { parts, isSettled };
    if (attempt === attempts) return { parts, isSettled: false };
    await clock.sleep(pauseMs, signal);
    signal.throwIfAborted();
  }
}
