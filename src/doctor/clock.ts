import { registered } from './check.ts';
import type { ApiReading } from './readings.ts';
import { failure, ok, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';

/** The date of an answer has whole seconds, and it was on its way. */
const warnAboveMs = 10_000;
/** Certificates and tokens that were just issued are not good yet. */
const failAboveMs = 300_000;

/** This node's clock against the API server's. */
export const clock = registered<ApiReading>({
  id: 'clock',
  read: async (readings) => readings.api(),
  judge: (reading) => [judgeClock(reading)],
});

/** How far apart the two are. */
export function judgeClock(
  reading: Pick<ApiReading, 'kind'> & { readonly aheadMs?: number | undefined },
): Finding {
  const id = 'clock.api';
  if (reading.kind !== 'answered') return skipped(id, 'no API server to compare with');
  const { aheadMs } = reading;
  if (aheadMs === undefined) return skipped(id, 'the API server sent no date');
  const apart = Math.abs(aheadMs);
  if (apart <= warnAboveMs) return ok(id, 'within a few seconds of the API server’s');
  const text = `${Math.round(apart / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} the API server’s`;
  const cure = 'set it by NTP on both: timedatectl set-ntp true; chronyc makestep';
  return apart > failAboveMs
    ? failure(id, `${text}: certificates and tokens may not be good`, cure)
    : warning(id, text, cure);
}
