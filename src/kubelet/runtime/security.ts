import type { MessageInitShape } from '@bufbuild/protobuf';
import { SwitchyardError } from '../../error.ts';
import { NamespaceMode, SecurityProfile_ProfileType as ProfileType } from '../cri/gen/api_pb.ts';
import type {
  LinuxContainerSecurityContextSchema,
  LinuxSandboxSecurityContextSchema,
  NamespaceOption,
  SELinuxOptionSchema,
  SecurityProfileSchema,
} from '../cri/gen/api_pb.ts';
import { allContainers } from '../pod/pod.ts';
import type { Container } from '../pod/container.ts';
import type { Pod, PodSpec } from '../pod/pod.ts';
import type { ImageUser } from '../images/images.ts';
import type { SeccompProfile, SecurityContext, SeLinuxOptions } from '../pod/security-context.ts';

const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

type Profile = MessageInitShape<typeof SecurityProfileSchema>;

/** Which namespaces of the node a pod shares; pid and ipc are never left out: 0 means another mode than none (`NamespaceOption` in api.proto). */
export function namespaceOptions(spec: PodSpec): Pick<NamespaceOption, 'network' | 'pid' | 'ipc'> {
  const shared = spec.shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER;
  return {
    network: spec.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: spec.hostPID ? NamespaceMode.NODE : shared,
    ipc: spec.hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
  };
}

/** Of the sandbox: the pod's own context, and whether any container is privileged (containerd refuses one elsewhere). */
export function sandboxSecurity({
  spec,
}: Pick<Pod, 'spec'>): MessageInitShape<typeof LinuxSandboxSecurityContextSchema> {
  const { securityContext: context } = spec;
  return {
    namespaceOptions: namespaceOptions(spec),
    privileged: allContainers(spec).some(
      ({ securityContext }) => securityContext?.privileged === true,
    ),
    seccomp: { profileType: ProfileType.RuntimeDefault, localhostRef: '' },
    ...user(context.runAsUser, context.runAsGroup),
    supplementalGroups: groups(spec),
    ...selinux(context.seLinuxOptions),
  };
}

/**
 * Of a container: its own fields before the pod's (Kubernetes: Configure a Security Context for a Pod or Container). Throws with the
 * message of a `CreateContainerConfigError` where it may not run as root and would, or nobody can tell.
 */
export function containerSecurity(
  { spec }: Pick<Pod, 'spec'>,
  container: Container,
  image: ImageUser,
  defaults: { readonly seccompDefault: boolean; readonly rootDir: string },
  pidTarget?: string,
): MessageInitShape<typeof LinuxContainerSecurityContextSchema> {
  const own = container.securityContext ?? {};
  const shared = spec.securityContext;
  const runAsUser = own.runAsUser ?? shared.runAsUser;
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) === true) refuseRoot(runAsUser, image);
  const apparmor = own.appArmorProfile ?? shared.appArmorProfile;
  return {
    namespaceOptions: {
      ...namespaceOptions(spec),
      ...(pidTarget !== undefined && { pid: NamespaceMode.TARGET, targetId: pidTarget }),
    },
    ...rights(own),
    seccomp: seccompOf(spec, container, defaults),
    ...(apparmor !== undefined && { apparmor: profile(apparmor, (name) => name) }),
    ...imageUser(runAsUser, image),
    ...user(undefined, own.runAsGroup ?? shared.runAsGroup),
    supplementalGroups: groups(spec),
    ...selinux(own.seLinuxOptions ?? shared.seLinuxOptions),
  };
}

/** What only a container says. */
function rights(own: SecurityContext) {
  const unmasked = own.procMount === 'Unmasked';
  return {
    privileged: own.privileged ?? false,
    capabilities: {
      addCapabilities: [...(own.capabilities?.add ?? [])],
      dropCapabilities: [...(own.capabilities?.drop ?? [])],
    },
    readonlyRootfs: own.readOnlyRootFilesystem ?? false,
    noNewPrivs: own.allowPrivilegeEscalation === false,
    maskedPaths: unmasked ? [] : [...maskedPaths],
    readonlyPaths: unmasked ? [] : [...readonlyPaths],
  };
}

function refuseRoot(runAsUser: number | undefined, { uid, username }: ImageUser): void {
  if (runAsUser === 0) refuse("container's runAsUser breaks non-root policy");
  if (runAsUser !== undefined) return;
  if (uid === undefined && username !== undefined && username !== '') {
    refuse(
      `container has runAsNonRoot and image has non-numeric user (${username}), cannot verify user is non-root`,
    );
  }
  if ((uid ?? 0n) === 0n) refuse('container has runAsNonRoot and image will run as root');
}

function refuse(message: string): never {
  throw new SwitchyardError('object', message);
}

function seccompOf(
  { securityContext }: PodSpec,
  { securityContext: own }: Container,
  { seccompDefault, rootDir }: { readonly seccompDefault: boolean; readonly rootDir: string },
): Profile {
  if (own?.privileged === true) return { profileType: ProfileType.Unconfined };
  const wanted = own?.seccompProfile ?? securityContext.seccompProfile;
  if (wanted !== undefined) return profile(wanted, (name) => `${rootDir}/seccomp/${name}`);
  return {
    profileType: seccompDefault ? ProfileType.RuntimeDefault : ProfileType.Unconfined,
  };
}

function profile(wanted: SeccompProfile, reference: (name: string) => string): Profile {
  const profileType = ProfileType[wanted.type];
  if (wanted.type !== 'Localhost') return { profileType };
  return { profileType, localhostRef: reference(wanted.localhostProfile ?? '') };
}

function user(
  uid: number | undefined,
  gid: number | undefined,
): { runAsUser?: { value: bigint }; runAsGroup?: { value: bigint } } {
  return {
    ...(uid !== undefined && { runAsUser: { value: BigInt(uid) } }),
    ...(gid !== undefined && { runAsGroup: { value: BigInt(gid) } }),
  };
}

function imageUser(
  runAsUser: number | undefined,
  { uid, username }: ImageUser,
): { runAsUser?: { value: bigint }; runAsUsername?: string } {
  if (runAsUser !== undefined) return user(runAsUser, undefined);
  if (uid !== undefined) return { runAsUser: { value: uid } };
  return username === undefined || username === '' ? {} : { runAsUsername: username };
}

function groups({ securityContext: { fsGroup, supplementalGroups = [] } }: PodSpec): bigint[] {
  return [...(fsGroup === undefined ? [] : [fsGroup]), ...supplementalGroups].map(BigInt);
}

function selinux(options: SeLinuxOptions | undefined): {
  selinuxOptions?: MessageInitShape<typeof SELinuxOptionSchema>;
} {
  return options === undefined ? {} : { selinuxOptions: { ...options } };
}
