import type { ClientCount } from './affinity.ts';
import type { After } from './dialer.ts';
import type { Drains } from './drains.ts';
import type { FlowTable } from './flow-table.ts';
import type { Report } from './report.ts';
import type { Wires } from './wire.ts';

/** How many connections one listener may have, over all workers, so that a flooded service does not take the files of all others. */
export function mostConnectionsOf(files = Number.POSITIVE_INFINITY): number {
  return Math.floor((0.75 * files) / filesOfConnection);
}

const filesOfConnection = 2;

/** What the listeners of one worker share. */
export interface WorkerContext {
  readonly wires: Wires;
  readonly after: After;
  /** Milliseconds of a clock that is never set back. */
  readonly now: () => number;
  readonly drains: Drains;
  readonly flows: FlowTable;
  /** Whom listeners with affinity remember. */
  readonly clients: ClientCount;
  readonly report: Report;
  /** Of one listener, over all workers. */
  readonly mostConnections: number;
}
