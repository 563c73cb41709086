import type { Clock } from '../clock.ts';
import { endOrphanedTools } from '../host/orphaned-tools.ts';
import type { Log } from '../telemetry/log.ts';

/** Before anything is read of the kernel: an agent that was killed may have left a restore at work. */
export async function endOrphans({
  clock,
  log,
}: {
  readonly clock: Clock;
  readonly log: Log;
}): Promise<void> {
  for (const orphan of await endOrphanedTools(clock)) {
    log.warn(
      orphan,
      `${orphan.name} (process ${orphan.pid}), left at work by an agent that was killed, was ended`,
    );
  }
}
