import type { MessageInitShape } from '@bufbuild/protobuf';
import { SwitchyardError } from '../../error.ts';
import { MountPropagation } from '../cri/gen/api_pb.ts';
import type { ContainerConfigSchema, MountSchema, Signal } from '../cri/gen/api_pb.ts';
import { stopSignal } from '../cri/stop-signals.ts';
import { expand } from '../environment/expand.ts';
import type { Container, VolumeMount } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import type { EnvValue } from '../ports/environment.ts';
import { annotations, containerHash, labels } from './labels.ts';
import { containerResources } from './linux-resources.ts';
import { containerSecurity } from './security.ts';
import type { ImageUser } from '../images/images.ts';
import type { RuntimeSettings } from './settings.ts';

export type ContainerConfig = MessageInitShape<typeof ContainerConfigSchema>;
type MountMessage = MessageInitShape<typeof MountSchema>;

/** A volume mount with the path that is bound for it. */
export interface BoundMount {
  readonly mount: VolumeMount;
  readonly hostPath: string;
  readonly readOnly: boolean;
  /** Whether it is below the kubelet's own directory: SELinux labels are then its to set. */
  readonly managed: boolean;
}

export interface ContainerInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly attempt: number;
  readonly image: { readonly ref: string; readonly user: ImageUser };
  readonly env: readonly EnvValue[];
  readonly mounts: readonly BoundMount[];
  /** Bound at /etc/hosts; undefined where the container has a mount of its own there. */
  readonly hostsFile: string | undefined;
  /** undefined: the container wants none. */
  readonly terminationMessageFile: string | undefined;
  /** The container whose processes it sees, by its ID; undefined: as all of the pod. */
  readonly pidTarget: string | undefined;
  /** Whether the runtime makes mounts read-only all the way down. */
  readonly recursiveReadOnly: boolean;
}

/** A container, as CRI takes it (`ContainerConfig` in api.proto). */
export function containerConfig(input: ContainerInput, settings: RuntimeSettings): ContainerConfig {
  const { pod, container, attempt, image } = input;
  const values = new Map(input.env.map(({ name, value }) => [name, value]));
  const expanded = (list: readonly string[] = []): string[] =>
    list.map((text) => expand(text, (name) => values.get(name)));
  return {
    metadata: { name: container.name, attempt },
    image: { image: image.ref, userSpecifiedImage: container.image },
    command: expanded(container.command),
    args: expanded(container.args),
    workingDir: container.workingDir ?? '',
    envs: input.env.map(({ name, value }) => ({ key: name, value })),
    mounts: mounts(input),
    labels: {
      [labels.podName]: pod.metadata.name,
      [labels.podNamespace]: pod.metadata.namespace,
      [labels.podUid]: pod.metadata.uid,
      [labels.containerName]: container.name,
      [labels.managedBy]: settings.nodeName,
    },
    annotations: containerAnnotations(pod, container, attempt),
    logPath: `${container.name}/${attempt}.log`,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: containerResources(pod, container, settings),
      securityContext: containerSecurity(pod, container, image.user, settings, input.pidTarget),
    },
    ...signalOf(container),
  };
}

/** Only what is asked for: the runtime else goes by the image (spec 3.5). */
function signalOf({ lifecycle, name }: Container): { readonly stopSignal?: Signal } {
  const wanted = lifecycle?.stopSignal;
  if (wanted === undefined) return {};
  const signal = stopSignal(wanted);
  if (signal !== undefined) return { stopSignal: signal };
  const what = `container ${JSON.stringify(name)} is to be stopped by ${JSON.stringify(wanted)}`;
  throw new SwitchyardError('object', `${what}, which is no signal of Linux`);
}

function containerAnnotations(
  { metadata, spec }: Pod,
  container: Container,
  attempt: number,
): Record<string, string> {
  const preStop = container.lifecycle?.preStop;
  return {
    [annotations.hash]: containerHash(container),
    [annotations.restartCount]: String(attempt),
    [annotations.terminationMessagePath]: container.terminationMessagePath,
    [annotations.terminationMessagePolicy]: container.terminationMessagePolicy,
    [annotations.terminationGrace]: String(spec.terminationGracePeriodSeconds),
    ...(metadata.deletionGracePeriodSeconds !== undefined && {
      [annotations.deletionGrace]: String(metadata.deletionGracePeriodSeconds),
    }),
    ...(Object.keys(container.resources).length > 0 && {
      [annotations.resources]: JSON.stringify(container.resources),
    }),
    ...(preStop !== undefined && { [annotations.preStop]: JSON.stringify(preStop) }),
    ...(container.ports.length > 0 && { [annotations.ports]: JSON.stringify(container.ports) }),
  };
}

function mounts(input: ContainerInput): MountMessage[] {
  const list = input.mounts.map((bound) => volumeMount(bound, input.recursiveReadOnly));
  if (input.hostsFile !== undefined) list.push(fileMount('/etc/hosts', input.hostsFile));
  if (input.terminationMessageFile !== undefined) {
    list.push(fileMount(input.container.terminationMessagePath, input.terminationMessageFile));
  }
  return list;
}

function fileMount(containerPath: string, hostPath: string): MountMessage {
  return {
    containerPath,
    hostPath,
    readonly: false,
    selinuxRelabel: true,
    propagation: MountPropagation.PROPAGATION_PRIVATE,
  };
}

const propagations = {
  None: MountPropagation.PROPAGATION_PRIVATE,
  HostToContainer: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  Bidirectional: MountPropagation.PROPAGATION_BIDIRECTIONAL,
} as const;

function volumeMount(bound: BoundMount, canRecurse: boolean): MountMessage {
  const { mount } = bound;
  const recursive = mount.recursiveReadOnly ?? 'Disabled';
  if (recursive === 'Enabled' && !canRecurse) {
    const what = `volume mount ${JSON.stringify(mount.name)} asks for a recursive read-only mount`;
    throw new SwitchyardError('object', `${what}, which this container runtime does not have`);
  }
  return {
    containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
    hostPath: bound.hostPath,
    readonly: bound.readOnly || (mount.readOnly ?? false),
    selinuxRelabel: bound.managed,
    propagation: propagations[mount.mountPropagation ?? 'None'],
    recursiveReadOnly: recursive !== 'Disabled' && canRecurse,
  };
}

/** Whether a container brings an /etc/hosts of its own. */
export function hasOwnHosts({ volumeMounts }: Container): boolean {
  return volumeMounts.some(({ mountPath }) => /^\/?etc\/hosts\/?$/.test(mountPath));
}
