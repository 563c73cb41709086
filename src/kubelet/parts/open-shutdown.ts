import { Logind } from '../../host/logind.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { NodeParts } from './node-parts.ts';
import type { PodTable } from '../dispatch/pod-table.ts';
import { NodeShutdown } from '../shutdown/node-shutdown.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';

/** Opens what ends pods when the machine is shut down. */
export function openShutdown(
  { config, clock, log, api }: KubeletBase,
  node: Pick<NodeParts, 'shuttingDown'>,
  workers: Pick<PodWorkers, 'all' | 'isAlive' | 'kill' | 'beginAnew'>,
  status: Pick<StatusWriter, 'isSettled'>,
  table: Pick<PodTable, 'get'>,
): NodeShutdown {
  return new NodeShutdown({
    groups: config.shutdown,
    host: new Logind(),
    // Those that end already, too: they may be given less time than they have.
    pods: () => workers.all().flatMap(({ uid, pod }) => (workers.isAlive(uid) ? (pod ?? []) : [])),
    isAlive: (uid) => workers.isAlive(uid),
    end: (uid, end) => workers.kill(uid, end),
    beginAnew: (uid) => {
      if (table.get(uid) !== undefined) workers.beginAnew(uid);
    },
    isTold: () => api === undefined || status.isSettled,
    tell: (isShuttingDown) => node.shuttingDown(isShuttingDown),
    clock,
    log,
  });
}
