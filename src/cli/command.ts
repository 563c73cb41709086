import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import type { ProcessStreams } from './process-streams.ts';

/** What a command sees of the process that runs it. */
export interface CommandIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** As `stdout`, for what a terminal is to obey. */
  readonly screen?: (text: string) => void;
  /** All of the standard input, for those that ask for it. */
  readonly stdin: () => Promise<string>;
  /** For what goes through as it is; default: those of the process. */
  readonly streams?: ProcessStreams;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts on SIGTERM and SIGINT: the command winds down and returns. */
  readonly signal: AbortSignal;
}

/** A parsed command line. */
export interface CommandArgs {
  readonly flags: FlagValues;
  readonly positionals: readonly string[];
}

/** Positional arguments a command takes; without this, any is a usage error. */
interface PositionalSpec {
  /** As --help prints it: `FROM TO:PORT[/PROTO]`. */
  readonly usage: string;
  readonly min: number;
  readonly max: number;
}

/** One `switchyard NAME`. Each lives in a file of its own that exports it as `command`. */
export interface Command {
  readonly name: string;
  /** One line for the overview of `switchyard help`. */
  readonly summary: string;
  readonly flags: FlagTable;
  readonly positionals?: PositionalSpec;
  /** Another command of this name that a command line asks for, with flags of its own. */
  readonly otherwise?: (argv: readonly string[]) => Promise<Command | undefined>;
  /** More text for --help: examples. */
  readonly details?: string;
  /**
   * Resolves with the exit status. A SwitchyardError of code `usage` makes exit 2, any other
   * thrown thing exit 1; main prints message and hint.
   */
  run(args: CommandArgs, io: CommandIo): Promise<number>;
}
