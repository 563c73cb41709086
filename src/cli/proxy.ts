import { hostname } from 'node:os';
import process from 'node:process';
import { systemClock } from '../clock.ts';
import { proxyConfig } from '../config/proxy-config.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import { errorText } from '../error.ts';
import { systemTools } from '../host/run-tool.ts';
import { createSysctls } from '../host/sysctl.ts';
import { runAgent } from '../proxy/agent.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { Command } from './command.ts';
import { version } from './version.ts';

/** `switchyard proxy`: the agent. Ends with 0 on SIGTERM and leaves the rules. */
export const command: Command = {
  name: 'proxy',
  summary: 'Runs the agent: makes Services work on this node.',
  flags: proxyFlags,
  details: [
    'examples:',
    '  switchyard proxy --kubeconfig=/etc/kubernetes/proxy.conf --cluster-cidr=10.244.0.0/16',
    '  switchyard proxy --source=file:./manifests --hostname-override=node-a',
  ].join('\n'),
  async run({ flags }, io) {
    const config = proxyConfig(flags);
    const log = createLogger({ ...config.logging, terminal: process.stderr.isTTY });
    // A bug in one corner must not take the node's Services down, but it must be seen.
    const onRejection = (reason: unknown): void => {
      log.error({ err: reason }, `unhandled failure: ${errorText(reason)}`);
    };
    process.on('unhandledRejection', onRejection);
    try {
      const tools = systemTools;
      const sysctls = createSysctls();
      await runAgent(
        {
          config,
          hostname: hostname(),
          version,
          tools,
          sysctls,
          clock: systemClock,
          random: Math.random,
          env: io.env,
          log,
        },
        io.signal,
      );
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    return 0;
  },
};
