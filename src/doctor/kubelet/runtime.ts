import { failure, ok, skipped, warning } from '../finding.ts';
import type { Finding } from '../finding.ts';
import { kubeletCheck } from './readings.ts';
import type { KubeletSubject, NetworkReading, RuntimeReading } from './readings.ts';

const restart = 'see its log: journalctl -u containerd';

/** Whether the container runtime answers, which it is, and how it says it fares. */
export const runtime = kubeletCheck<RuntimeReading>({
  id: 'runtime',
  read: async (readings) => readings.runtime(),
  judge: (reading, { config: { runtime: settings } }) => {
    if (reading.kind === 'silent') {
      const cure =
        reading.cure ??
        'install and start containerd with its CRI plug-in, or name its socket in containerRuntimeEndpoint';
      return [
        failure('runtime.answer', `${settings.endpoint}: ${reading.problem}`, cure),
        skipped('runtime.ready', 'it does not answer'),
      ];
    }
    const { name, version, runtimeProblem } = reading;
    return [
      ok('runtime.answer', `${name} ${version} at ${settings.endpoint}`),
      runtimeProblem === undefined
        ? ok('runtime.ready', 'it says that it is ready')
        : failure('runtime.ready', runtimeProblem, restart),
    ];
  },
});

/** The network of pods: what the runtime says of it, and whether there is a configuration. */
export const network = kubeletCheck<readonly [RuntimeReading, NetworkReading]>({
  id: 'cni',
  read: async (readings) => Promise.all([readings.runtime(), readings.network()]),
  judge: ([reading, { folder, files }]) => {
    const configs = files?.filter((name) => /\.(?:conf|conflist|json)$/.test(name)) ?? [];
    const cure = `install the cluster’s network plug-in, which writes it; until then pods of the node’s own network run alone`;
    const config =
      configs.length === 0
        ? warning('cni.config', `there is no configuration in ${folder}`, cure)
        : ok('cni.config', `${configs[0]} in ${folder}`);
    return [config, state(reading)];
  },
});

function state(reading: RuntimeReading): Finding {
  const id = 'cni.network';
  if (reading.kind === 'silent') return skipped(id, 'the runtime does not answer');
  const { networkProblem } = reading;
  if (networkProblem === undefined) return ok(id, 'the runtime says that it is ready');
  return warning(id, `the node will not be ready: ${networkProblem}`, restart);
}

/** Who names cgroups has to be one for runtime and kubelet, or limits of pods and of containers are in two trees. */
export function driver(reading: RuntimeReading, { config }: KubeletSubject): Finding {
  const id = 'cgroup.driver';
  const { driver: ours } = config.runtime.cgroups;
  if (reading.kind === 'silent') return skipped(id, 'the runtime does not answer');
  const { cgroupDriver: theirs } = reading;
  if (theirs === undefined)
    return skipped(id, `the runtime does not say which it uses; the kubelet: ${ours}`);
  if (theirs.isTaken) return ok(id, `${theirs.name}, as the runtime says`);
  if (theirs.name === ours) return ok(id, `${ours}, as the runtime`);
  const isSystemd = theirs.name === 'systemd';
  const cure = `set cgroupDriver: ${theirs.name}, or SystemdCgroup = ${String(!isSystemd)} in containerd’s configuration, on an empty node`;
  return failure(id, `the runtime uses ${theirs.name}, and cgroupDriver is ${ours}`, cure);
}
