import { kubeletSocketFlag } from '../config/kubelet-flags.ts';
import type { Command } from './command.ts';
import { findKubelet } from './kubelet-client.ts';
import { jsonText, lookFlags, showLooks } from './looks.ts';
import { psText } from './ps-text.ts';

/** Ends with these, with 2 where no kubelet answers; what is wrong with the command line is 2 too. */
const exits = { told: 0, notYet: 1 } as const;

/** `switchyard ps`: the pods that the kubelet of this node runs. */
export const command: Command = {
  name: 'ps',
  summary:
    'Lists the pods of this node, with a cluster or without one, and what is not run and why.',
  flags: [
    kubeletSocketFlag,
    ...lookFlags,
    {
      name: 'output',
      short: 'o',
      type: 'enum',
      values: ['', 'wide', 'json'],
      default: '',
      help: 'wide: with sources, images and messages; json: all of it, with each container; with --watch a document a line.',
    },
  ],
  details: [
    'Exit status: 0, 1 where no pods are run yet, 2 where no kubelet answers.',
    '',
    'Examples:',
    '  switchyard ps',
    '  switchyard ps --watch',
    "  switchyard ps --output=json | jq -r '.pods[] | select(.ready < .total) | .name'",
  ].join('\n'),
  async run({ flags }, io) {
    const output = flags.text('output');
    const look = async (): Promise<{ text: string; exit: number }> => {
      const { document } = await findKubelet(flags, io.env);
      const text =
        output === 'json' ? jsonText(document, flags) : psText(document, output === 'wide');
      return { text, exit: document.waitsFor === null ? exits.told : exits.notYet };
    };
    return showLooks(look, flags, io);
  },
};
