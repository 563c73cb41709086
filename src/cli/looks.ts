import process from 'node:process';
import { systemClock } from '../clock.ts';
import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import { SwitchyardError } from '../error.ts';
import { NoAgentError } from './admin-client.ts';
import type { CommandIo } from './command.ts';
import { failureText } from './failure-text.ts';
import { showLive } from './live-view.ts';
import type { Screen } from './live-view.ts';
import { printable } from './printable.ts';

/** Of commands that look at an agent once, or again and again. */
export const lookFlags: FlagTable = [
  {
    name: 'watch',
    short: 'w',
    type: 'bool',
    default: false,
    help: 'Show it all the time, on a terminal in place, until Ctrl-C.',
  },
  {
    name: 'interval',
    type: 'duration',
    default: 1000,
    help: 'With --watch: how often to look.',
  },
];

/** What was seen, and the exit status of a command that ends with it. */
export interface Look {
  readonly text: string;
  readonly exit: number;
}

/** What a command that finds no agent ends with. */
const noAgent = 2;

/** Looks once, or all the time; the exit status is that of the last look: an agent that goes away may come back. */
export async function showLooks(
  look: () => Promise<Look>,
  flags: FlagValues,
  io: CommandIo,
): Promise<number> {
  if (flags.bool('watch')) return watch(look, flags, io);
  try {
    const { text, exit } = await look();
    io.stdout(text);
    return exit;
  } catch (error) {
    if (!(error instanceof NoAgentError)) throw error;
    io.stderr(failureText(error, io.env));
    return noAgent;
  }
}

/** A JSON document for a reader: over several lines, unless one follows another. */
export function jsonText(document: object, flags: FlagValues): string {
  return `${JSON.stringify(document, undefined, flags.bool('watch') ? undefined : 2)}\n`;
}

async function watch(look: () => Promise<Look>, flags: FlagValues, io: CommandIo): Promise<number> {
  const intervalMs = flags.number('interval');
  if (intervalMs < 100) {
    throw new SwitchyardError('usage', '--interval: expected 100ms or more');
  }
  let last = noAgent;
  const see = async (): Promise<string> => {
    try {
      const { text, exit } = await look();
      last = exit;
      return text;
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      last = noAgent;
      return failureText(error, io.env);
    }
  };
  const screen = flags.text('output') === 'json' ? undefined : terminal(io);
  if (screen === undefined) await repeat(see, io, intervalMs);
  else
    await showLive(
      { clock: systemClock, screen, intervalMs, render: async () => printable(await see()) },
      io.signal,
    );
  return last;
}

/** Where there is no terminal: one after the other. */
async function repeat(
  see: () => Promise<string>,
  io: CommandIo,
  intervalMs: number,
): Promise<void> {
  for (let first = true; !io.signal.aborted; first = false) {
    const text = await see();
    io.stdout(first || text.startsWith('{') ? text : `\n${text}`);
    await systemClock.sleep(intervalMs, io.signal);
  }
}

function terminal(io: CommandIo): Screen | undefined {
  const { stdout } = process;
  if (!stdout.isTTY) return undefined;
  return {
    write: io.screen ?? io.stdout,
    size: () => ({ rows: stdout.rows, columns: stdout.columns }),
  };
}
