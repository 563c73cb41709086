import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import { readControllers } from '../../host/cgroup-controllers.ts';
import { readDiskSpace } from '../../host/disk-space.ts';
import { folderNames } from '../../host/folder-names.ts';
import { SystemMounts } from '../../host/mounts.ts';
import type { MountPoint } from '../../host/mounts.ts';
import { readPrivileges } from '../../host/privileges.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { swapAreas } from '../../host/swap-areas.ts';
import { findTool } from '../../host/tool-path.ts';
import { checkVersion, connectCri } from '../../kubelet/cri/client.ts';
import type { Cri } from '../../kubelet/cri/client.ts';
import { takenPorts } from '../taken-ports.ts';
import { readKubeletApi } from './api-reading.ts';
import { readCertificates } from './certificate-readings.ts';
import { kubeletTools } from './machine.ts';
import type { KubeletReadings, KubeletSubject, MountsReading, RuntimeReading } from './readings.ts';

/** What reading the machine takes. */
export interface KubeletMachine {
  readonly subject: KubeletSubject;
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends all that reads. */
  readonly signal: AbortSignal;
}

const callTimeoutMs = 10_000;
const usualCniFolder = '/etc/cni/net.d';

/** The readings of this machine. Nothing is read before it is asked for, and nothing twice. */
export function kubeletReadings(options: KubeletMachine): KubeletReadings {
  const { subject, tools, clock, signal } = options;
  const { config } = subject;
  const runtime = once(async () => readRuntime(subject, clock, signal));
  return {
    runtime,
    privileges: once(readPrivileges),
    tools: once(async () =>
      Promise.all(
        kubeletTools.map(async (tool) => ({
          tool,
          found: (await findTool(tool)) !== undefined,
        })),
      ),
    ),
    cgroups: once(async () => readControllers()),
    network: once(async () => {
      const found = await runtime();
      const folder = found.kind === 'answered' ? found.cniFolder : usualCniFolder;
      return { folder, files: await folderNames(folder) };
    }),
    mounts: once(async () => readMounts(config.rootDir, tools)),
    swap: once(async () => swapAreas()),
    ports: once(async () => {
      const { bind, readOnly, healthz } = config.server;
      return takenPorts(new Set([bind?.port, readOnly?.port, healthz?.port]), tools, signal);
    }),
    certificates: once(async () => readCertificates(options.subject, clock.now())),
    api: once(async () => readKubeletApi(options)),
  };
}

/** The same answer for all who ask. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return async () => (answer ??= read());
}

async function readRuntime(
  { config }: KubeletSubject,
  clock: Clock,
  signal: AbortSignal,
): Promise<RuntimeReading> {
  try {
    const cri = connectCri(config.runtime.endpoint, clock, { requestTimeoutMs: callTimeoutMs });
    const { name, version } = await checkVersion(cri, signal);
    const { status, info } = await cri.runtime.status({ verbose: true }, { signal });
    const settings = settingsOf(info['config']);
    const problem = (type: string): string | undefined => {
      const found = status?.conditions.find((each) => each.type === type);
      return found?.status === true ? undefined : (found?.message ?? 'it does not say');
    };
    return {
      kind: 'answered',
      name,
      version,
      runtimeProblem: problem('RuntimeReady'),
      networkProblem: problem('NetworkReady'),
      cgroupDriver: (await askedDriver(cri, signal)) ?? configuredDriver(settings),
      cniFolder: settings.cni?.confDir ?? usualCniFolder,
    };
  } catch (error) {
    signal.throwIfAborted();
    const cure = error instanceof SwitchyardError ? error.hint : undefined;
    return { kind: 'silent', problem: errorText(error), cure };
  }
}

type Driver = Extract<RuntimeReading, { kind: 'answered' }>['cgroupDriver'];

/** containerd 2.0 and later say it. */
async function askedDriver(cri: Cri, signal: AbortSignal): Promise<Driver> {
  const answer = await cri.runtime.runtimeConfig({}, { signal }).catch(() => undefined);
  const number = answer?.linux?.cgroupDriver;
  return number === undefined
    ? undefined
    : { name: number === 0 ? 'systemd' : 'cgroupfs', isTaken: true };
}

/** What of containerd's configuration is looked at, as it tells it itself. */
interface ContainerdSettings {
  readonly cni?: { readonly confDir?: string };
  readonly containerd?: {
    readonly defaultRuntimeName?: string;
    readonly runtimes?: Readonly<
      Record<string, { readonly options?: { readonly SystemdCgroup?: boolean } | null }>
    >;
  };
}

function settingsOf(text: string | undefined): ContainerdSettings {
  try {
    return (JSON.parse(text ?? '{}') ?? {}) as ContainerdSettings;
  } catch {
    return {};
  }
}

function configuredDriver({ containerd }: ContainerdSettings): Driver {
  const chosen = containerd?.runtimes?.[containerd.defaultRuntimeName ?? 'runc'];
  if (chosen === undefined) return undefined;
  return {
    name: chosen.options?.SystemdCgroup === true ? 'systemd' : 'cgroupfs',
    isTaken: false,
  };
}

async function readMounts(rootDir: string, tools: ToolRunner): Promise<MountsReading> {
  const { path, shared } = holding(rootDir, await new SystemMounts(tools).list());
  // Where it is not there yet, its folder's disk is what it will be on.
  const disk = await readDiskSpace(rootDir).catch(async () =>
    readDiskSpace(path).catch(() => undefined),
  );
  if (disk === undefined) return { path, isShared: shared, free: undefined };
  const free = {
    bytes: disk.availableBytes / Math.max(1, disk.bytes),
    files: disk.inodes === 0 ? 1 : disk.freeInodes / disk.inodes,
  };
  return { path, isShared: shared, free };
}

/** The mount that a path is on: the longest one that it begins with, the last of those at one place. */
function holding(path: string, mounts: readonly MountPoint[]): MountPoint {
  const isIn = (mount: MountPoint): boolean =>
    mount.path === '/' || path === mount.path || path.startsWith(`${mount.path}/`);
  const [first = { path: '/', type: '', shared: false }] = mounts
    .filter(isIn)
    .toReversed()
    .toSorted((a, b) => b.path.length - a.path.length);
  return first;
}
