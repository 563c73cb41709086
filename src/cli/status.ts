import process from 'node:process';
import { systemClock } from '../clock.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { adminSocketFlag } from '../config/proxy-flags.ts';
import { SwitchyardError } from '../error.ts';
import type { StatusDocument } from '../proxy/admin/status-document.ts';
import { NoAgentError, findAgent } from './agent-client.ts';
import type { Command, CommandIo } from './command.ts';
import { showLive } from './live-view.ts';
import type { Screen } from './live-view.ts';
import { failureText } from './failure-text.ts';
import { printable } from './printable.ts';
import { statusText } from './status-text.ts';

/** Ends with these; what is wrong with the command line is 2 too. */
const exits = { healthy: 0, unhealthy: 1, noAgent: 2 } as const;

/** `switchyard status`: what the running agent does. */
export const command: Command = {
  name: 'status',
  summary: 'Says what the agent on this node does, and what it could not do and why.',
  flags: [
    adminSocketFlag,
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
    {
      name: 'output',
      short: 'o',
      type: 'enum',
      values: ['text', 'json'],
      default: 'text',
      help: 'text or json; with --watch a document a line.',
    },
  ],
  details: [
    'Exit status: 0 where the agent is healthy, 1 where it is starting, a sync fails, a change waits for too',
    'long or a service is not programmed, 2 where no agent answers.',
    '',
    'Examples:',
    '  switchyard status',
    '  switchyard status --watch',
    "  switchyard status --output=json | jq '.families[].unfinished'",
  ].join('\n'),
  async run({ flags }, io) {
    if (flags.bool('watch')) return watch(flags, io);
    try {
      const { status } = await findAgent(flags, io.env);
      io.stdout(textOf(flags, status));
      return exitOf(status);
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      io.stderr(failureText(error, io.env));
      return exits.noAgent;
    }
  },
};

function textOf(flags: FlagValues, status: StatusDocument): string {
  if (flags.text('output') !== 'json') return statusText(status);
  return `${JSON.stringify(status, undefined, flags.bool('watch') ? undefined : 2)}\n`;
}

function exitOf({ state }: StatusDocument): number {
  return state === 'healthy' ? exits.healthy : exits.unhealthy;
}

/** The exit status is that of the last look; an agent that goes away may come back. */
async function watch(flags: FlagValues, io: CommandIo): Promise<number> {
  const intervalMs = flags.number('interval');
  if (intervalMs < 100) {
    throw new SwitchyardError('usage', '--interval: expected 100ms or more');
  }
  let exit: number = exits.noAgent;
  const look = async (): Promise<string> => {
    try {
      const { status } = await findAgent(flags, io.env);
      exit = exitOf(status);
      return textOf(flags, status);
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      exit = exits.noAgent;
      return failureText(error, io.env);
    }
  };
  const screen = flags.text('output') === 'json' ? undefined : terminal(io);
  if (screen === undefined) await repeat(look, io, intervalMs);
  else
    await showLive(
      { clock: systemClock, screen, intervalMs, render: async () => printable(await look()) },
      io.signal,
    );
  return exit;
}

/** Where there is no terminal: one after the other. */
async function repeat(
  look: () => Promise<string>,
  io: CommandIo,
  intervalMs: number,
): Promise<void> {
  for (let first = true; !io.signal.aborted; first = false) {
    const text = await look();
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
