import { hostname } from 'node:os';
import { systemClock } from '../clock.ts';
import { kubeletFlags } from '../config/kubelet-flags.ts';
import { isChosen, runChecks } from '../doctor/check.ts';
import type { Finding } from '../doctor/finding.ts';
import { kubeletReadings } from '../doctor/kubelet/machine-readings.ts';
import type { KubeletSubject } from '../doctor/kubelet/readings.ts';
import { kubeletChecks } from '../doctor/kubelet/registry.ts';
import { systemTools } from '../host/run-tool.ts';
import type { Command, CommandIo } from './command.ts';
import { reportFlags, say, unknownIds, wanted } from './doctor-report.ts';
import { readKubeletConfig } from './read-kubelet-config.ts';

const deadlineMs = 60_000;

/** `switchyard doctor --kubelet`: the same of the other half of a node, with the flags of that one. */
export const command: Command = {
  name: 'doctor',
  summary: 'Says what this node lacks to run pods, and the cure of each.',
  flags: [...reportFlags, ...kubeletFlags],
  details: [
    'With --kubelet it takes the kubelet’s flags (or its --config), and looks at the container runtime, cgroups, the network of pods, mounts,',
    'swap, ports, certificates, the API server and its clock. It changes nothing, and sees the most as root.',
    '',
    'Exit status 0: nothing fails (warnings do not count, unless --strict); 1: something does; 2: a mistake in the command line.',
    '',
    'example:',
    '  switchyard doctor --kubelet --config=/etc/switchyard/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf',
  ].join('\n'),
  async run({ flags }, io) {
    const { config, warnings } = await readKubeletConfig(flags);
    for (const warning of warnings) io.stderr(`warning: ${warning}\n`);
    const nodeName = config.node.hostnameOverride || hostname().trim().toLowerCase();
    const only = flags.list('only');
    const found = await examine({ config, nodeName }, only, io);
    const chosen = found.filter(({ id }) => isChosen(id, only));
    if (chosen.length === 0) throw unknownIds(only, kubeletChecks);
    return say(chosen, { nodeName, way: 'kubelet' }, { flags, io, isPartial: true });
  },
};

async function examine(
  subject: KubeletSubject,
  only: readonly string[],
  io: CommandIo,
): Promise<readonly Finding[]> {
  const over = new AbortController();
  const signal = AbortSignal.any([io.signal, over.signal]);
  const readings = kubeletReadings({
    subject,
    tools: systemTools,
    clock: systemClock,
    env: io.env,
    signal,
  });
  const deadline = systemClock.sleep(deadlineMs, signal);
  try {
    return await runChecks(wanted(kubeletChecks, only), readings, subject, async () => deadline);
  } finally {
    over.abort();
    io.signal.throwIfAborted();
  }
}
