import type { After } from './dialer.ts';
import type { Drains } from './drains.ts';
import type { FlowTable } from './flow-table.ts';
import type { Report } from './report.ts';
import type { Wires } from './wire.ts';

/** What the listeners of one worker share. */
export interface WorkerContext {
  readonly wires: Wires;
  readonly after: After;
  /** Milliseconds of a clock that is never set back. */
  readonly now: () => number;
  readonly drains: Drains;
  readonly flows: FlowTable;
  readonly report: Report;
}
