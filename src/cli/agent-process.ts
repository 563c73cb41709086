import process from 'node:process';
import { systemClock } from '../clock.ts';
import { errorText } from '../error.ts';
import { runProgram } from '../host/run-program.ts';
import { connectDirectly } from '../informer/api-connection.ts';
import type { ConnectApi } from '../informer/api-connection.ts';
import type { Log } from '../telemetry/log.ts';
import type { CommandIo } from './command.ts';

/** What an agent has of its process beside its command line: alone, or as one half of a node. */
export interface AgentProcess {
  readonly connect: ConnectApi;
  /** What each line of its log says of itself. */
  readonly logFields?: Readonly<Record<string, string>>;
}

/** An agent that has the process to itself. */
export function aloneIn({ env }: Pick<CommandIo, 'env'>): AgentProcess {
  return {
    connect: connectDirectly({ clock: systemClock, random: Math.random, env, runProgram }),
  };
}

/** Runs an agent. A bug in one corner must not take its work down, but it must be seen. A stop during the start cuts short what runs then: that is no failure. */
export async function runLogged(
  log: Log,
  signal: AbortSignal,
  run: () => Promise<void>,
): Promise<void> {
  const onRejection = (reason: unknown): void => {
    log.error({ err: reason }, `unhandled failure: ${errorText(reason)}`);
  };
  process.on('unhandledRejection', onRejection);
  try {
    await run();
  } catch (error) {
    if (!signal.aborted) throw error;
    log.info({ interrupted: errorText(error) }, 'stopped');
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}
