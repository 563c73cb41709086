import type { CgroupControllers } from '../../host/cgroup-controllers.ts';
import type { Privileges } from '../../host/privileges.ts';
import { failure, ok, skipped, warning } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { PortReading, ToolReading } from '../readings.ts';
import { kubeletCheck } from './readings.ts';
import type { MountsReading, RuntimeReading } from './readings.ts';
import { driver } from './runtime.ts';

/** Pods cannot be had without root: mounts, cgroups, files of other users. */
export const privileges = kubeletCheck<Privileges>({
  id: 'privileges',
  read: async (readings) => readings.privileges(),
  judge: ({ isRoot }) => [
    isRoot
      ? ok('privileges.rights', 'root')
      : warning(
          'privileges.rights',
          'not root: the kubelet has to be, and doctor sees less',
          'run it as root',
        ),
  ],
});

const wantedBy: Readonly<Record<string, string>> = {
  mount: 'util-linux: volumes in memory and subPath are mounts',
  umount: 'util-linux: volumes in memory and subPath are mounts',
};

export const kubeletTools = ['mount', 'umount', 'iptables'] as const;

/** The programs that the kubelet runs. */
export const tools = kubeletCheck<readonly Pick<ToolReading, 'tool' | 'found'>[]>({
  id: 'tool',
  read: async (readings) => readings.tools(),
  judge: (found, { config }) =>
    found.map(({ tool, found: isThere }) => {
      const id = `tool.${tool}`;
      if (isThere) return ok(id, 'is there');
      const why = wantedBy[tool];
      if (why !== undefined) return failure(id, 'is not installed', `install ${why}`);
      if (!config.iptablesChains) return skipped(id, 'makeIPTablesUtilChains is false');
      return warning(
        id,
        'is not installed: KUBE-IPTABLES-HINT and KUBE-KUBELET-CANARY cannot be made',
        'install it (apt-get install iptables), or set makeIPTablesUtilChains: false',
      );
    }),
});

const controllers = ['cpu', 'cpuset', 'memory', 'pids'];

/** What limits of pods are made of. */
export const cgroups = kubeletCheck<readonly [CgroupControllers, RuntimeReading]>({
  id: 'cgroup',
  read: async (readings) => Promise.all([readings.cgroups(), readings.runtime()]),
  judge: ([{ version, controllers: found }, runtime], subject) => {
    const missing = controllers.filter((name) => !found.includes(name));
    const cure =
      'enable them: see /proc/cgroups, and cgroup_enable= and cgroup_disable= on the kernel’s command line';
    return [
      ok('cgroup.version', `version ${version}`),
      missing.length === 0
        ? ok('cgroup.controllers', controllers.join(', '))
        : failure('cgroup.controllers', `missing: ${missing.join(', ')}`, cure),
      driver(runtime, subject),
    ];
  },
});

/** Where volumes lie, and whether the runtime sees what is mounted there. */
export const mounts = kubeletCheck<MountsReading>({
  id: 'mount',
  read: async (readings) => readings.mounts(),
  judge: ({ path, isShared, free }, { config: { rootDir } }) => [
    isShared
      ? ok('mount.shared', `what is mounted below ${path} is seen by the runtime`)
      : warning(
          'mount.shared',
          `${path} is mounted private: mounts below ${rootDir} may not reach containers, nor volumes with Bidirectional propagation the node`,
          `mount --make-rshared ${path}; the kubelet does it for its root directory by itself`,
        ),
    room(rootDir, free),
  ],
});

/** As the node tells of pressure: a tenth of the bytes, a twentieth of the files. */
function room(rootDir: string, free: MountsReading['free']): Finding {
  const id = 'mount.root-dir';
  if (free === undefined) return skipped(id, `${rootDir}: not known how much is free`);
  const text = `${rootDir}: ${percent(free.bytes)} of the bytes and ${percent(free.files)} of the files are free`;
  if (free.bytes >= 0.1 && free.files >= 0.05) return ok(id, text);
  return warning(
    id,
    `${text}: the node will be under DiskPressure`,
    'make room, or set evictionHard',
  );
}

function percent(part: number): string {
  return `${Math.floor(part * 100)} %`;
}

/** Swap is none of the pods’, and slows them down all the same. */
export const swap = kubeletCheck<readonly string[]>({
  id: 'swap',
  read: async (readings) => readings.swap(),
  judge: (areas) => [
    areas.length === 0
      ? ok('swap', 'there is none')
      : warning(
          'swap',
          `the machine swaps to ${areas.join(', ')}: pods get none of it, and limits of memory are kept late`,
          'swapoff -a, and take it out of /etc/fstab; it is no reason not to start',
        ),
  ],
});

const own = /^(?:switchyard|node|kubelet)/;

/** Whether the ports are free, or already the kubelet’s. */
export const ports = kubeletCheck<readonly PortReading[]>({
  id: 'port',
  read: async (readings) => readings.ports(),
  judge: (taken, { config: { server } }) =>
    (
      [
        ['server', server.bind?.port],
        ['read-only', server.readOnly?.port],
        ['healthz', server.healthz?.port],
      ] as const
    ).flatMap(([name, port]) => {
      if (port === undefined) return [];
      const id = `port.${name}`;
      const owner = taken.find((each) => each.port === port)?.owner;
      if (!taken.some((each) => each.port === port)) return [ok(id, `${port} is free`)];
      if (owner === undefined) return [skipped(id, `${port} is taken, by whom is not to be seen`)];
      const text = `${port} is taken by ${owner.name} (process ${owner.pid})`;
      if (own.test(owner.name)) return [ok(id, text)];
      return [failure(id, text, 'end that, or choose another port')];
    }),
});
