import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError, errorText } from '../error.ts';
import { warning } from './finding.ts';
import type { Finding, Way } from './finding.ts';
import type { Readings } from './readings.ts';

/** What is examined: an agent of this configuration on this node. */
export interface Subject {
  readonly config: ProxyConfig;
  readonly nodeName: string;
  /** The way of this configuration. */
  readonly way: Way;
}

/** Something to look at: it reads, and a pure function judges what was read. */
export interface Check<R, From = Readings, Of = Subject> {
  /** Its findings have ids that begin with this. */
  readonly id: string;
  readonly read: (readings: From, subject: Of) => Promise<R>;
  readonly judge: (reading: R, subject: Of) => readonly Finding[];
}

/** A check of any reading. */
export interface AnyCheck<From = Readings, Of = Subject> {
  readonly id: string;
  readonly run: (readings: From, subject: Of) => Promise<readonly Finding[]>;
}

/** A check for the registry. */
export function registered<R, From = Readings, Of = Subject>({
  id,
  read,
  judge,
}: Check<R, From, Of>): AnyCheck<From, Of> {
  return { id, run: async (readings, subject) => judge(await read(readings, subject), subject) };
}

/** Runs checks beside each other. One that fails is a warning with its name, and stops no other; so is one that takes too long. */
export async function runChecks<From, Of>(
  checks: readonly AnyCheck<From, Of>[],
  readings: From,
  subject: Of,
  deadline: () => Promise<void>,
): Promise<readonly Finding[]> {
  const all = checks.map(async (check) => runOne(check, readings, subject, deadline()));
  return (await Promise.all(all)).flat();
}

async function runOne<From, Of>(
  { id, run }: AnyCheck<From, Of>,
  readings: From,
  subject: Of,
  deadline: Promise<void>,
): Promise<readonly Finding[]> {
  try {
    const late = async (): Promise<never> => {
      await deadline;
      throw new SwitchyardError('timeout', 'it took too long', {
        hint: 'run it again; if it lasts, see what the node is busy with',
      });
    };
    return await Promise.race([run(readings, subject), late()]);
  } catch (error) {
    const hint = error instanceof SwitchyardError ? error.hint : undefined;
    const cure = hint ?? 'look at this by hand; what the check says of itself is a bug to report';
    return [warning(id, `the check ${id} failed: ${errorText(error)}`, cure)];
  }
}

/** Whether a check or a finding is asked for: by its id, or by the first words of it. */
export function isChosen(id: string, only: readonly string[]): boolean {
  return only.length === 0 || only.some((each) => id === each || id.startsWith(`${each}.`));
}
