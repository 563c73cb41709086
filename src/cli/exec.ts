import type { Command, CommandIo } from './command.ts';
import { commandUpgrade, remoteCommand } from './exec/remote-command.ts';
import type { TerminalSize } from './exec/remote-command.ts';
import { findKubelet } from './kubelet-client.ts';
import { chooseContainer, choosePod, containerPath, podChoiceFlags } from './pod-choice.ts';
import { ownStreams } from './process-streams.ts';
import type { Input, Output } from './process-streams.ts';

/** As a shell tells of a program that a signal ended. */
const interrupted = 130;

/** `switchyard exec`: a command in a container of this node. */
export const command: Command = {
  name: 'exec',
  summary: 'Runs a command in a container of this node.',
  positionals: { usage: 'POD -- COMMAND…', min: 2, max: Number.POSITIVE_INFINITY },
  flags: [
    ...podChoiceFlags,
    {
      name: 'stdin',
      short: 'i',
      type: 'bool',
      default: false,
      help: 'Pass the standard input on, to its end.',
    },
    {
      name: 'tty',
      short: 't',
      type: 'bool',
      default: false,
      help: 'Give the command a terminal, of the size of this one.',
    },
  ],
  details: [
    'Exit status: that of the command; 1 where it could not be run, 130 after Ctrl-C (with a terminal that is',
    'passed on). Write -- before the command, so that its flags are its own.',
    '',
    'Examples:',
    '  switchyard exec web -- cat /etc/hosts',
    '  switchyard exec -it web -- sh',
    '  tar c . | switchyard exec -i web -- tar x -C /data',
  ].join('\n'),
  async run({ flags, positionals: [name = '', ...words] }, io) {
    const { client, document } = await findKubelet(flags, io.env);
    const pod = choosePod(document, name, flags.text('namespace'));
    const path = containerPath('exec', pod, chooseContainer(pod, flags.text('container')));
    const asked = { stdin: flags.bool('stdin'), tty: flags.bool('tty') };
    const local = io.streams ?? ownStreams();
    // Who reads is free to go: the command does not depend on it.
    for (const output of [local.stdout, local.stderr]) output.on('error', () => {});
    const query = new URLSearchParams({ output: '1', ...(asked.stdin && { input: '1' }) });
    query.append(asked.tty ? 'tty' : 'error', '1');
    for (const word of words) query.append('command', word);
    const restore = asked.tty && asked.stdin ? makeRaw(local.stdin, io) : () => {};
    try {
      const connection = await client.upgrade(path, query, commandUpgrade, io.signal);
      const terminal = sizeOf(local.stdout);
      return await remoteCommand({ connection, asked, local, terminal }, io.signal);
    } catch (error) {
      if (io.signal.aborted) return interrupted;
      throw error;
    } finally {
      restore();
      if (asked.stdin) local.stdin.destroy();
    }
  },
};

/** Each key goes over as it is, Ctrl-C too. */
function makeRaw(stdin: Input, io: CommandIo): () => void {
  if (stdin.isTTY !== true) {
    io.stderr('warning: the standard input is no terminal: the command gets one of its own\n');
    return () => {};
  }
  stdin.setRawMode?.(true);
  return () => void stdin.setRawMode?.(false);
}

function sizeOf(stdout: Output): TerminalSize {
  return {
    size: () => {
      const { isTTY, rows, columns } = stdout;
      if (isTTY !== true || rows === undefined || columns === undefined) return undefined;
      return { rows, columns };
    },
    changes: (changed, signal) => {
      stdout.on('resize', changed);
      signal.addEventListener('abort', () => void stdout.off('resize', changed), { once: true });
    },
  };
}
