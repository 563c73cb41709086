import type { Image } from '../cri/gen/api_pb.ts';
import type { MachineFacts } from '../../host/machine-facts.ts';
import type { NodeCapacity } from './capacity.ts';
import type { RuntimeAbilities } from './runtime-health.ts';
import type { NodeCondition, NodeSettings, NodeStatus } from './node-object.ts';
import { isSame } from '../status/status-patch.ts';

/** All that a node's status is made of. */
export interface NodeStatusInput {
  readonly name: string;
  readonly ips: readonly string[];
  /** Where the kubelet answers; 0: nowhere. */
  readonly port: number;
  readonly machine: MachineFacts;
  readonly capacity: NodeCapacity;
  readonly conditions: readonly NodeCondition[];
  /** `containerd://1.6.20`; undefined: the runtime has not said it yet. */
  readonly runtimeVersion: string | undefined;
  readonly kubeletVersion: string;
  readonly images: readonly Pick<Image, 'repoTags' | 'repoDigests' | 'size'>[];
  readonly abilities: RuntimeAbilities;
}

/** The most names that an image is listed with. */
const mostNames = 5;

export function nodeStatus(
  input: NodeStatusInput,
  { maxImages, externalCloud }: Pick<NodeSettings, 'maxImages' | 'externalCloud'>,
): NodeStatus {
  const { name, ips, port, machine, capacity, conditions } = input;
  const addresses = [
    ...ips.map((address) => ({ type: 'InternalIP', address })),
    { type: 'Hostname', address: name },
  ];
  return {
    ...(externalCloud ? {} : { addresses }),
    ...capacity,
    conditions,
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
    nodeInfo: {
      machineID: machine.machineId,
      systemUUID: machine.systemUuid,
      bootID: machine.bootId,
      kernelVersion: machine.kernelVersion,
      osImage: machine.osImage,
      containerRuntimeVersion: input.runtimeVersion ?? 'containerd://Unknown',
      kubeletVersion: input.kubeletVersion,
      kubeProxyVersion: '',
      operatingSystem: 'linux',
      architecture: machine.architecture,
    },
    images: listedImages(input.images, maxImages),
    ...input.abilities,
  };
}

function listedImages(
  images: NodeStatusInput['images'],
  most: number,
): NonNullable<NodeStatus['images']> {
  const all = images
    .map(({ repoDigests, repoTags, size }) => ({
      names: [...repoDigests, ...repoTags].slice(0, mostNames),
      sizeBytes: Number(size),
    }))
    .filter(({ names }) => names.length > 0)
    .toSorted(
      (a, b) => b.sizeBytes - a.sizeBytes || ((a.names[0] ?? '') < (b.names[0] ?? '') ? -1 : 1),
    );
  return most < 0 ? all : all.slice(0, most);
}

/**
 * What turns the status that the API has into `wanted`, as a strategic merge patch; resources and conditions of others stay. `isDue`: the
 * heartbeats are to be told, too, even where nothing else has changed. undefined: there is nothing to tell.
 */
export function nodeStatusPatch(
  api: NodeStatus,
  wanted: NodeStatus,
  isDue: boolean,
): object | undefined {
  const conditions = wanted.conditions ?? [];
  const changed = conditions.filter((condition) => {
    const before = api.conditions?.find(({ type }) => type === condition.type);
    return !isSame({ ...before, lastHeartbeatTime: '' }, { ...condition, lastHeartbeatTime: '' });
  });
  const capacity = changedQuantities(api.capacity, wanted.capacity);
  const allocatable = changedQuantities(api.allocatable, wanted.allocatable);
  const { addresses } = wanted;
  const patch = {
    ...(capacity && { capacity }),
    ...(allocatable && { allocatable }),
    ...(addresses !== undefined && !isSame(api.addresses, addresses)
      ? { addresses: [{ $patch: 'replace' }, ...addresses] }
      : {}),
    ...changedFields(api, wanted),
  };
  if (Object.keys(patch).length === 0 && changed.length === 0 && !isDue) return undefined;
  return { ...patch, ...(conditions.length === 0 ? {} : { conditions }) };
}

/** What is not known, or not yet, is nothing to tell: what the API has of it stays. */
function changedFields(api: NodeStatus, wanted: NodeStatus): Partial<NodeStatus> {
  const names = ['daemonEndpoints', 'nodeInfo', 'images', 'runtimeHandlers', 'features'] as const;
  return Object.fromEntries(
    names
      .filter((name) => wanted[name] !== undefined && !isSame(api[name], wanted[name]))
      .map((name) => [name, wanted[name]] as const),
  );
}

function changedQuantities(
  before: NodeStatus['capacity'],
  wanted: NodeStatus['capacity'],
): NodeStatus['capacity'] {
  const entries = Object.entries(wanted ?? {}).filter(([name, text]) => before?.[name] !== text);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
