// The program of a worker thread. It is started by workers.ts alone, from these sources or out of the bundle.

import { parentPort, workerData } from 'node:worker_threads';
import { ClientCount } from './affinity.ts';
import { systemAfter } from './dialer.ts';
import { Drains } from './drains.ts';
import { FlowTable, mostFlowsOf } from './flow-table.ts';
import { HandleWires } from './handle-wire.ts';
import type { NumberedOrder, Word, WorkerStart } from './messages.ts';
import { RelayWorker } from './relay-worker.ts';
import { Report } from './report.ts';
import { socketWires } from './socket-wire.ts';
import { tcpHandles } from './tcp-handles.ts';
import { fewTimers } from './timeouts.ts';
import { mostConnectionsOf } from './worker-context.ts';

/** How often connections are looked after. */
const upkeepMs = 10_000;

const start = workerData as WorkerStart;
const now = (): number => performance.now();
const say = (word: Word): void => {
  parentPort?.postMessage(word);
};
const report = new Report((level, fields, message) => {
  say({ say: 'log', level, fields, message });
}, now);
const handles = start.wires === 'handles' ? tcpHandles() : undefined;
const worker = new RelayWorker(
  start.number,
  start.workers,
  {
    wires: handles === undefined ? socketWires : new HandleWires(handles, start.mostFiles),
    after: fewTimers(systemAfter, now),
    now,
    drains: new Drains(systemAfter, now),
    flows: new FlowTable(systemAfter, now, mostFlowsOf(start.mostFiles, start.workers)),
    clients: new ClientCount(),
    report,
    mostConnections: mostConnectionsOf(start.mostFiles),
  },
  say,
);

setInterval(() => {
  worker.upkeep();
}, upkeepMs);

parentPort?.on('message', (order: NumberedOrder) => {
  void worker.obey(order);
});
