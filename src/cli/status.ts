import type { FlagValues } from '../config/flag-table.ts';
import { adminSocketFlag } from '../config/proxy-flags.ts';
import { askAgents } from './asked-agents.ts';
import type { AskedAgents } from './asked-agents.ts';
import type { Command } from './command.ts';
import { kubeletStatusText } from './kubelet-status-text.ts';
import { jsonText, lookFlags, showLooks } from './looks.ts';
import { statusText } from './status-text.ts';

/** Ends with these, with 2 where no agent answers; what is wrong with the command line is 2 too. */
const exits = { healthy: 0, unhealthy: 1 } as const;

/** `switchyard status`: what the running agent does. */
export const command: Command = {
  name: 'status',
  summary: 'Says what the agents on this node do, and what they could not do and why.',
  flags: [
    adminSocketFlag,
    ...lookFlags,
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
    const look = async (): Promise<{ text: string; exit: number }> => {
      const asked = await askAgents(flags, io.env);
      return { text: textOf(flags, asked), exit: exitOf(asked) };
    };
    return showLooks(look, flags, io);
  },
};

function textOf(flags: FlagValues, { proxy, kubelet }: AskedAgents): string {
  if (flags.text('output') !== 'json') {
    const texts = [proxy && statusText(proxy), kubelet && kubeletStatusText(kubelet)];
    return texts.filter((text) => text !== undefined).join('\n');
  }
  return jsonText({ ...proxy, ...(kubelet && { kubelet }) }, flags);
}

function exitOf(asked: AskedAgents): number {
  const isWell = Object.values(asked).every(
    (each) => each === undefined || each.state === 'healthy',
  );
  return isWell ? exits.healthy : exits.unhealthy;
}
