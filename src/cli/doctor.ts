import { hostname } from 'node:os';
import { systemClock } from '../clock.ts';
import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import { isChosen, runChecks } from '../doctor/check.ts';
import type { Subject } from '../doctor/check.ts';
import type { Way } from '../doctor/finding.ts';
import { machineReadings } from '../doctor/machine-readings.ts';
import { checks } from '../doctor/registry.ts';
import { systemTools } from '../host/run-tool.ts';
import type { Command, CommandIo } from './command.ts';
import { reportFlags, say, unknownIds, wanted } from './doctor-report.ts';
import { readConfig } from './read-config.ts';

const ownFlags: FlagTable = [
  ...reportFlags,
  {
    name: 'probe',
    type: 'bool',
    default: true,
    help: 'Try rules, sets and virtual servers in a network namespace of its own. The kernel may load modules for it, as it does for the agent; =false leaves it out.',
  },
];

/** Of the agent's flags, those that ask it to do something else than run: a line that is pasted here may have them. */
const notDone = new Set(['cleanup', 'init-only', 'write-config-to']);

const agentFlags: FlagTable = proxyFlags.map((flag) =>
  notDone.has(flag.name) ? { ...flag, noEffect: 'doctor looks, and does nothing' } : flag,
);

/** A check that takes longer is given up, and named. */
const deadlineMs = 90_000;

/** `switchyard doctor`: what an agent of these flags would lack here, and what to do about it. Changes nothing. */
export const command: Command = {
  name: 'doctor',
  summary: 'Says what this node lacks, what is in the way of Services, and the cure of each.',
  flags: [...ownFlags, ...agentFlags],
  otherwise: async (argv) =>
    argv.some((each) => /^--?kubelet(?:=(?![fF0]).*)?$/.test(each))
      ? (await import('./doctor-kubelet.ts')).command
      : undefined,
  details: [
    'It takes the agent’s flags (or its --config), and looks at what that configuration needs; of the other modes it says whether they',
    'could run. Rules, settings and files stay as they are. It sees the most as root.',
    '',
    'Exit status 0: nothing fails (warnings do not count, unless --strict); 1: something does; 2: a mistake in the command line.',
    '',
    'switchyard doctor --kubelet --help: the same of the kubelet.',
    '',
    'examples:',
    '  switchyard doctor --kubeconfig=/etc/kubernetes/proxy.conf --cluster-cidr=10.244.0.0/16',
    '  switchyard doctor --config=/var/lib/kube-proxy/config.conf --output=json',
    '  switchyard doctor --mode=ipvs --only=kernel,feature,tool',
  ].join('\n'),
  async run({ flags }, io) {
    const only = flags.list('only');
    const { config, warnings } = await readConfig(flags);
    for (const warning of warnings) io.stderr(`warning: ${warning}\n`);
    const nodeName = config.hostnameOverride || hostname().trim().toLowerCase();
    const subject: Subject = { config, nodeName, way: wayOf(config) };
    const found = await examine(subject, flags, io);
    const chosen = found.filter(({ id }) => isChosen(id, only));
    if (chosen.length === 0) throw unknownIds(only, checks);
    return say(chosen, subject, { flags, io, isPartial: only.length > 0 });
  },
};

function wayOf({ mode, userspace }: ProxyConfig): Way {
  return mode === 'userspace' && userspace.portals === 'none' ? 'userspace-without-portals' : mode;
}

async function examine(
  subject: Subject,
  flags: FlagValues,
  io: CommandIo,
): ReturnType<typeof runChecks> {
  const only = flags.list('only');
  const over = new AbortController();
  const signal = AbortSignal.any([io.signal, over.signal]);
  const readings = machineReadings({
    subject,
    tools: systemTools,
    clock: systemClock,
    env: io.env,
    mayProbe: flags.bool('probe'),
    signal,
  });
  const deadline = systemClock.sleep(deadlineMs, signal);
  try {
    return await runChecks(wanted(checks, only), readings, subject, async () => deadline);
  } finally {
    over.abort();
    io.signal.throwIfAborted();
  }
}
