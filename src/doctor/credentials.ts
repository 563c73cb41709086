import { registered } from './check.ts';
import { failure, ok, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { CredentialsReading, DatedCredential } from './readings.ts';

const dayMs = 86_400_000;
const id = 'credentials';

/** Until when certificates and tokens are good. What they say beside that is read by nobody here. */
export const credentials = registered<CredentialsReading>({
  id,
  read: async (readings) => readings.credentials(),
  judge: (reading) => {
    switch (reading.kind) {
      case 'unused':
        return [skipped(`${id}.kind`, '--source names no API server')];
      case 'unread': {
        const cure = 'give --kubeconfig a file that kubectl accepts, with files this user may read';
        return [failure(`${id}.kind`, reading.problem, cure)];
      }
      case 'read':
        return [
          ok(`${id}.kind`, `the API server is asked with ${reading.by}`),
          ...reading.dated.map((each) => judgeDates(each, reading.nowMs)),
        ];
      default:
        return reading satisfies never;
    }
  },
});

/** Whether it is good now, and for how long. */
export function judgeDates(
  { what, notBeforeMs, notAfterMs }: DatedCredential,
  nowMs: number,
): Finding {
  const name = `${id}.${what.replaceAll(' ', '-')}`;
  const until = new Date(notAfterMs).toISOString();
  if (notAfterMs <= nowMs) {
    return failure(name, `the ${what} ended ${until}`, renewal(what));
  }
  if (notBeforeMs > nowMs) {
    const text = `the ${what} is good from ${new Date(notBeforeMs).toISOString()} on, which this node’s clock has not reached`;
    return failure(name, text, 'set the clock: timedatectl set-ntp true');
  }
  const left = notAfterMs - nowMs;
  // what lives for hours is renewed by somebody
  const isShort = notAfterMs - notBeforeMs < 60 * dayMs;
  if (left < 14 * dayMs && !isShort) {
    return warning(
      name,
      `the ${what} ends ${until}, in ${Math.floor(left / dayMs)} days`,
      renewal(what),
    );
  }
  return ok(name, `the ${what} is good until ${until}`);
}

function renewal(what: string): string {
  if (what === 'token') return 'renew it: in a pod the kubelet does; else see who issued it';
  return 'renew it (with kubeadm: kubeadm certs renew all), and give the agent the new one';
}
