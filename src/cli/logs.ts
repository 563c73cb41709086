import type { FlagValues } from '../config/flag-table.ts';
import { SwitchyardError } from '../error.ts';
import type { Command } from './command.ts';
import { findKubelet } from './kubelet-client.ts';
import { chooseContainer, choosePod, containerPath, podChoiceFlags } from './pod-choice.ts';
import { ownStreams, writeAll } from './process-streams.ts';

/** `switchyard logs`: what a container of this node has said. */
export const command: Command = {
  name: 'logs',
  summary: 'Prints what a container of this node has said, and goes on if asked to.',
  positionals: { usage: 'POD', min: 1, max: 1 },
  flags: [
    ...podChoiceFlags,
    {
      name: 'follow',
      short: 'f',
      type: 'bool',
      default: false,
      help: 'Go on with what is said from now on, until the container ends or Ctrl-C.',
    },
    {
      name: 'previous',
      short: 'p',
      type: 'bool',
      default: false,
      help: 'Of the container before the last restart.',
    },
    {
      name: 'tail',
      type: 'int',
      default: -1,
      placeholder: 'LINES',
      help: 'The last lines alone; -1: all that are in the current file.',
    },
    {
      name: 'since',
      type: 'duration',
      default: 0,
      help: 'What was said in so much time alone; 0: all.',
    },
    { name: 'timestamps', type: 'bool', default: false, help: 'With the time of each line.' },
    {
      name: 'limit-bytes',
      type: 'int',
      default: 0,
      placeholder: 'N',
      help: 'At most so many bytes; 0: all.',
    },
  ],
  details: [
    'POD is NAMESPACE/NAME, or NAME where no other namespace has one such; of a static pod the name in its',
    'manifest will do. The text is printed as it is, with the colours that it has.',
    '',
    'Examples:',
    '  switchyard logs web --tail=20 --follow',
    '  switchyard logs kube-system/etcd --since=10m --timestamps',
  ].join('\n'),
  async run({ flags, positionals: [name = ''] }, io) {
    const query = queryOf(flags);
    const { client, document } = await findKubelet(flags, io.env);
    const pod = choosePod(document, name, flags.text('namespace'));
    const path = containerPath('logs', pod, chooseContainer(pod, flags.text('container')));
    const { stdout } = io.streams ?? ownStreams();
    try {
      const text = await client.stream(path, query, io.signal);
      await writeAll(text, stdout, io.signal);
    } catch (error) {
      if (!io.signal.aborted) throw error;
    }
    return 0;
  },
};

function queryOf(flags: FlagValues): URLSearchParams {
  const tail = flags.number('tail');
  const sinceMs = flags.number('since');
  const limit = flags.number('limitBytes');
  if (tail < -1) throw new SwitchyardError('usage', '--tail: expected -1 or more');
  if (sinceMs < 0) throw new SwitchyardError('usage', '--since: expected 0 or more');
  if (limit < 0) throw new SwitchyardError('usage', '--limit-bytes: expected 0 or more');
  return new URLSearchParams({
    ...(flags.bool('follow') && { follow: 'true' }),
    ...(flags.bool('previous') && { previous: 'true' }),
    ...(flags.bool('timestamps') && { timestamps: 'true' }),
    ...(tail >= 0 && { tailLines: String(tail) }),
    ...(sinceMs > 0 && { sinceSeconds: String(Math.ceil(sinceMs / 1000)) }),
    ...(limit > 0 && { limitBytes: String(limit) }),
  });
}
