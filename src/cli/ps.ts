import { kubeletSocketFlag } from '../config/kubelet-flags.ts';
import { NoAgentError } from './admin-client.ts';
import type { Command } from './command.ts';
import { failureText } from './failure-text.ts';
import { findKubelet } from './kubelet-client.ts';
import { psText } from './ps-text.ts';

/** Ends with these; what is wrong with the command line is 2 too. */
const exits = { told: 0, notYet: 1, noAgent: 2 } as const;

/** `switchyard ps`: the pods that the kubelet of this node runs. */
export const command: Command = {
  name: 'ps',
  summary:
    'Lists the pods of this node, with a cluster or without one, and what is not run and why.',
  flags: [
    kubeletSocketFlag,
    {
      name: 'output',
      short: 'o',
      type: 'enum',
      values: ['', 'wide', 'json'],
      default: '',
      help: 'wide: with sources, images and messages; json: all of it, with each container.',
    },
  ],
  details: [
    'Exit status: 0, 1 where no pods are run yet, 2 where no kubelet answers.',
    '',
    'Examples:',
    '  switchyard ps',
    "  switchyard ps --output=json | jq -r '.pods[] | select(.ready < .total) | .name'",
  ].join('\n'),
  async run({ flags }, io) {
    try {
      const { document } = await findKubelet(flags, io.env);
      const output = flags.text('output');
      io.stdout(
        output === 'json'
          ? `${JSON.stringify(document, undefined, 2)}\n`
          : psText(document, output === 'wide'),
      );
      return document.waitsFor === null ? exits.told : exits.notYet;
    } catch (error) {
      if (!(error instanceof NoAgentError)) throw error;
      io.stderr(failureText(error, io.env));
      return exits.noAgent;
    }
  },
};
