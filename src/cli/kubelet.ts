import { hostname } from 'node:os';
import process from 'node:process';
import { systemClock } from '../clock.ts';
import { kubeletFlags } from '../config/kubelet-flags.ts';
import { errorText } from '../error.ts';
import { systemTools } from '../host/run-tool.ts';
import { runKubelet } from '../kubelet/kubelet.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { Command } from './command.ts';
import { keepHeapSmall } from './heap.ts';
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
  async run({ flags }, io) {
    keepHeapSmall();
    const { config, warnings } = await readKubeletConfig(flags);
    const log = await createLogger({ ...config.logging, terminal: process.stderr.isTTY });
    for (const warning of warnings) log.warn({}, warning);
    // A bug in one corner must not take the node's pods down, but it must be seen.
    const onRejection = (reason: unknown): void => {
      log.error({ err: reason }, `unhandled failure: ${errorText(reason)}`);
    };
    process.on('unhandledRejection', onRejection);
    try {
      await runKubelet(
        {
          config,
          hostname: hostname(),
          version,
          tools: systemTools,
          clock: systemClock,
          random: Math.random,
          env: io.env,
          log,
        },
        io.signal,
      );
    } catch (error) {
      // A stop during the start cuts short what runs then: that is no failure.
      if (!io.signal.aborted) throw error;
      log.info({ interrupted: errorText(error) }, 'stopped');
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    return 0;
  },
};
