import { hostname } from 'node:os';
import process from 'node:process';
import { systemClock } from '../clock.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { kubeletFlags } from '../config/kubelet-flags.ts';
import { usualAdminSocket } from '../host/admin-socket-path.ts';
import { systemTools } from '../host/run-tool.ts';
import { runKubelet } from '../kubelet/kubelet.ts';
import { createLogger } from '../telemetry/logger.ts';
import { aloneIn, runLogged } from './agent-process.ts';
import type { AgentProcess } from './agent-process.ts';
import type { Command, CommandIo } from './command.ts';
import { compileLittle, keepHeapSmall, shrinkWhenQuiet } from './heap.ts';
import { readKubeletConfig } from './read-kubelet-config.ts';
import { version } from './version.ts';

/** `switchyard kubelet`: runs pods. Ends with 0 on SIGTERM and leaves their containers running. */
export const command: Command = {
  name: 'kubelet',
  summary: "Runs the agent of a node's pods, with a cluster or without one.",
  flags: kubeletFlags,
  details: [
    'examples:',
    '  switchyard kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml',
    '  switchyard kubelet --source=file:/etc/kubernetes/manifests --authorization-mode=AlwaysAllow   # needs no cluster',
  ].join('\n'),
  run: async ({ flags }, io) => {
    compileLittle();
    return runKubeletCommand(flags, io, aloneIn(io));
  },
};

/** The same, with what it has of the process. */
export async function runKubeletCommand(
  flags: FlagValues,
  io: CommandIo,
  { connect, logFields = {} }: AgentProcess,
): Promise<number> {
  keepHeapSmall();
  const { config, shown, warnings } = await readKubeletConfig(flags);
  const terminal = process.stderr.isTTY;
  const log = await createLogger({ ...config.logging, terminal, fields: logFields });
  for (const warning of warnings) log.warn({}, warning);
  const over = new AbortController();
  const shrinking = shrinkWhenQuiet(systemClock, AbortSignal.any([io.signal, over.signal]));
  try {
    await runLogged(log, io.signal, async () =>
      runKubelet(
        {
          config,
          configz: shown,
          hostname: hostname(),
          version,
          adminSocket: config.adminSocket ?? usualAdminSocket('kubelet', io.env) ?? '',
          tools: systemTools,
          connect,
          clock: systemClock,
          random: Math.random,
          log,
        },
        io.signal,
      ),
    );
  } finally {
    over.abort();
    await shrinking;
  }
  return 0;
}
