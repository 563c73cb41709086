import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import { parseFlags } from '../config/parse-flags.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { AgentProcess } from './agent-process.ts';
import type { CommandIo } from './command.ts';

/** An agent that runs beside another one in the same process. */
export interface Half {
  readonly name: string;
  readonly flags: FlagTable;
  /** Its command line. */
  readonly argv: readonly string[];
  /** Works until the signal of `io` aborts. */
  readonly run: (flags: FlagValues, io: CommandIo, around: AgentProcess) => Promise<number>;
}

interface ReadHalf extends Half {
  readonly given: FlagValues;
}

/**
 * Runs them until they have ended, and gives the exit status. Where one fails, or ends though nobody has asked it to, the others are ended
 * in order, and then it rejects with what was the matter, named by half.
 */
export async function together(
  halves: readonly Half[],
  around: AgentProcess,
  io: CommandIo,
): Promise<number> {
  const all = halves.map((half) => read(half, io));
  const stop = new AbortController();
  const signal = AbortSignal.any([io.signal, stop.signal]);
  const failures: SwitchyardError[] = [];
  const statuses = await Promise.all(
    all.map(async ({ name, given, run }) => {
      const ownIo = { ...io, signal };
      const own = { ...around, logFields: { half: name } };
      try {
        const status = await run(given, ownIo, own);
        if (!signal.aborted) failures.push(endedAlone(name));
        return status;
      } catch (error) {
        failures.push(ofHalf(name, error));
        return 1;
      } finally {
        stop.abort();
      }
    }),
  );
  const [first] = failures;
  if (first === undefined) return Math.max(...statuses);
  if (failures.length === 1) throw first;
  const { code, hint, cause } = first;
  const message = failures.map(errorText).join('\n');
  throw new SwitchyardError(code, message, { cause, ...(hint !== undefined && { hint }) });
}

function read(half: Half, io: CommandIo): ReadHalf {
  const { name, flags, argv } = half;
  try {
    const { flags: given, warnings } = parseFlags(flags, argv);
    for (const warning of warnings) io.stderr(`warning: ${name}: ${warning}\n`);
    return { ...half, given };
  } catch (error) {
    throw ofHalf(name, error);
  }
}

/** What was thrown, with the half's name before each line. */
function ofHalf(name: string, error: unknown): SwitchyardError {
  const message = errorText(error)
    .split('\n')
    .map((line) => `${name}: ${line}`)
    .join('\n');
  if (!(error instanceof SwitchyardError))
    return new SwitchyardError('internal', message, { cause: error });
  const { code, hint, retryable } = error;
  return new SwitchyardError(code, message, {
    cause: error,
    retryable,
    ...(hint !== undefined && { hint }),
  });
}

function endedAlone(name: string): SwitchyardError {
  return new SwitchyardError('usage', `${name}: it has ended, though nobody has asked it to`, {
    hint: `what ends by itself, such as a flag that only cleans up, is for switchyard ${name} alone`,
  });
}
