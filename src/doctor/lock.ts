import { registered } from './check.ts';
import { ok, ruleWays, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { LockReading } from './readings.ts';

const id = 'lock';

/** The lock of the xtables tools: who holds it now, and whether it is the one that all programs of the node take. */
export const lock = registered<LockReading>({
  id,
  read: async (readings) => readings.lock(),
  judge: (reading) => [holder(reading), file(reading)],
});

function holder({ file: { path }, holder: held }: LockReading): Finding {
  const name = `${id}.holder`;
  if (held === undefined) return ok(name, `nobody holds ${path}`, ruleWays);
  const isSeen = held.pid > 0;
  const who = isSeen
    ? `process ${held.pid} (${held.name ?? 'name unknown'})`
    : 'a process of another pid namespace';
  const cure = isSeen
    ? `run doctor again: if it still holds it, see what it does (ps -fp ${held.pid}) and end it; rules wait for it`
    : 'run doctor again on the host: it names the process; rules wait for it';
  return warning(name, `${who} holds ${path}`, cure, ruleWays);
}

function file({ file: { path, isPrivate, exists } }: LockReading): Finding {
  const name = `${id}.file`;
  if (isPrivate) {
    const text = `${path} is this container's own: programs outside do not see the lock, and two may write at once`;
    const cure = `mount the host's ${path} (hostPath, type FileOrCreate)`;
    return warning(name, text, cure, ruleWays);
  }
  return ok(
    name,
    exists ? `${path} is inside no container image` : `${path} is made when it is needed`,
    ruleWays,
  );
}
