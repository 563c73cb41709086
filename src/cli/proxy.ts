import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import process from 'node:process';
import { systemClock } from '../clock.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { flagLines } from '../config/flag-lines.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import type { LoggingConfig } from '../config/proxy-config.ts';
import { NodeRecordFile, kernelIdentity, recordedSysctls } from '../host/node-record.ts';
import { systemTools } from '../host/run-tool.ts';
import { createSysctls } from '../host/sysctl.ts';
import { runSupervised } from '../proxy/run-supervised.ts';
import type { FollowedFile } from '../proxy/run-supervised.ts';
import type { ConfigReading } from '../proxy/supervised-run.ts';
import { ChangingLog } from '../telemetry/changing-log.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { Logger } from '../telemetry/logger.ts';
import { aloneIn, runLogged } from './agent-process.ts';
import type { AgentProcess } from './agent-process.ts';
import type { Command, CommandIo } from './command.ts';
import { keepHeapSmall, shrinkHeap } from './heap.ts';
import { configFrom, readConfig, readConfigText } from './read-config.ts';
import { version } from './version.ts';
import { writeConfig } from './write-config.ts';

/** `switchyard proxy`: the agent. Ends with 0 on SIGTERM and leaves the rules. */
export const command: Command = {
  name: 'proxy',
  summary: 'Runs the agent: makes Services work on this node.',
  flags: proxyFlags,
  details: [
    'examples:',
    '  switchyard proxy --kubeconfig=/etc/kubernetes/proxy.conf --cluster-cidr=10.244.0.0/16',
    '  switchyard proxy --source=file:./manifests --hostname-override=node-a',
    '  switchyard proxy --mode=userspace --userspace-portals=none --source=file:./manifests   # needs no root',
  ].join('\n'),
  run: async ({ flags }, io) => runProxyCommand(flags, io, aloneIn(io)),
};

/** The same, with what it has of the process. */
export async function runProxyCommand(
  flags: FlagValues,
  io: CommandIo,
  { connect, logFields = {} }: AgentProcess,
): Promise<number> {
  if (flags.text('writeConfigTo') !== '') return writeConfig(flags, io);
  if (flags.bool('cleanup')) {
    const { cleanUp, portsFileOf } = await import('./cleanup.ts');
    const { excludeCidrs } = (await readConfig(flags)).config.ipvs;
    const files = { stateFile: flags.text('stateFile'), portsFile: portsFileOf(flags) };
    return cleanUp({ plan: false, force: false, scope: 'all', excludeCidrs, ...files }, io);
  }
  keepHeapSmall();
  const path = flags.text('config');
  const text = path === '' ? undefined : await readConfigText(path);
  const first = readingOf(flags, text);
  const terminal = process.stderr.isTTY;
  const newLog = async (logging: LoggingConfig): Promise<Logger> =>
    createLogger({ ...logging, terminal, fields: logFields });
  const log = new ChangingLog(await newLog(first.config.logging));
  for (const warning of first.warnings) log.warn({}, warning);
  await runLogged(log, io.signal, async () => {
    const record = new NodeRecordFile({
      path: flags.text('stateFile'),
      identity: await kernelIdentity(),
      log,
    });
    await runSupervised(
      {
        first,
        file: text === undefined ? undefined : followed(flags, path, text),
        setLogging: async (logging) => log.use(await newLog(logging)),
        agent: {
          hostname: hostname(),
          version,
          tools: systemTools,
          sysctls: recordedSysctls(createSysctls(), record),
          record,
          connect,
          clock: systemClock,
          random: Math.random,
          env: io.env,
          log,
          print: io.stdout,
          onFirstRules: shrinkHeap,
          flagLines: flagLines(proxyFlags, flags),
          verbosity: log.verbosity,
        },
      },
      io.signal,
    );
  });
  return 0;
}

/** From the flags, or from the text of the file that --config names. */
function readingOf(flags: FlagValues, text: string | undefined): ConfigReading {
  const { config, warnings, effectiveConfig: effective, features } = configFrom(flags, text);
  const sha256 = text === undefined ? '' : createHash('sha256').update(text).digest('hex');
  return { config, warnings, sha256, effective, features };
}

/** The file is read again when it changes, and on SIGHUP; without one, that signal ends the process as it always does. */
function followed(flags: FlagValues, path: string, text: string): FollowedFile {
  return {
    path,
    text,
    read: (newer) => readingOf(flags, newer),
    onAsked: (look) => {
      process.on('SIGHUP', look);
      return () => process.off('SIGHUP', look);
    },
  };
}
