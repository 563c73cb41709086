import process from 'node:process';
import { systemClock } from '../clock.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { adminSocketFlag } from '../config/proxy-flags.ts';
import { SwitchyardError } from '../error.ts';
import { NoAgentError } from './admin-client.ts';
import { askAgents } from './asked-agents.ts';
import type { AskedAgents } from './asked-agents.ts';
import type { Command, CommandIo } from './command.ts';
import { showLive } from './live-view.ts';
import type { Screen } from './live-view.ts';
import { failureText } from './failure-text.ts';
import { kubeletStatusText } from './kubelet-status-text.ts';
import { printable } from './printable.ts';
import { statusText } from './status-text.ts';

/** Ends with these; what is wrong with the command line is 2 too. */
const exits = { healthy: 0, unhealthy: 1, noAgent: 2 } as const;

/** `switchyard status`: what the running agent does. */
export const command: Command = {
  name: 'status',
  summary: 'Says what the agents on this node do, and what they could not do and why.',
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
    'Exit status: 0 where proxy and kubelet, as far as they are there, are healthy; 1 where one is starting, a',
    'sync fails, a change waits for too long, a service is not programmed, or the container runtime or a source',
    'of pods is in trouble; 2 where no agent answers. In JSON the kubelet is a field of its own.',
    '',
    'Examples:',
    '  switchyard status',
    '  switchyard status --watch',
    "  switchyard status --output=json | jq '.families[].unfinished'",
  ].join('\n'),
  async run({ flags }, io) {
    if (flags.bool('watch')) return watch(flags, io);
    try {
      const asked = await askAgents(flags, io.env);
      io.stdout(textOf(flags, asked));
      return exitOf(asked);
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      io.stderr(failureText(error, io.env));
      return exits.noAgent;
    }
  },
};

function textOf(flags: FlagValues, { proxy, kubelet }: AskedAgents): string {
  if (flags.text('output') !== 'json') {
    const texts = [proxy && statusText(proxy), kubelet && kubeletStatusText(kubelet)];
    return texts.filter((text) => text !== undefined).join('\n');
  }
  const document = { ...proxy, ...(kubelet && { kubelet }) };
  return `${JSON.stringify(document, undefined, flags.bool('watch') ? undefined : 2)}\n`;
}

function exitOf(asked: AskedAgents): number {
  const isWell = Object.values(asked).every(
    (each) => each === undefined || each.state === 'healthy',
  );
  return isWell ? exits.healthy : exits.unhealthy;
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
      const asked = await askAgents(flags, io.env);
      exit = exitOf(asked);
      return textOf(flags, asked);
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
