import { errorText } from '../error.ts';
import type { NodeRecordFile } from '../host/node-record.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { Log } from '../telemetry/log.ts';

/** What putting settings back needs. */
export interface ModeSettings {
  readonly sysctls: Sysctls;
  readonly record: Pick<NodeRecordFile, 'read'>;
  readonly log: Log;
}

/** Whether ipvs mode alone needs a setting; net/ipv4/ip_forward is needed by all. */
export function isIpvsSetting(key: string): boolean {
  return key.startsWith('net/ipv4/vs/') || key.startsWith('net/ipv4/conf/all/arp_');
}

/**
 * Puts recorded settings back that another mode alone needed; those that somebody has changed since stay. Whether none
 * is left as that mode had it.
 */
export async function putBack(
  isWanted: (key: string) => boolean,
  { sysctls, record, log }: ModeSettings,
): Promise<boolean> {
  const recorded = Object.entries((await record.read()).sysctls);
  let isDone = true;
  for (const [key, { before, set }] of recorded.filter(([each]) => isWanted(each))) {
    const now = await sysctls.read(key);
    if (now !== set || now === before) continue;
    try {
      await sysctls.write(key, before);
      log.info({ key, value: before, before: now }, 'put back a setting of another mode');
    } catch (error) {
      isDone = false;
      log.warn({ key, value: before }, `not put back: ${errorText(error)}`);
    }
  }
  return isDone;
}
