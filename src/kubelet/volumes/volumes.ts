import { mkdir } from 'node:fs/promises';

import type { Clock } from '../../clock.ts';
import { errorText, SwitchyardError } from '../../error.ts';
import type { Mounts } from '../../host/mounts.ts';
import type { Log } from '../../telemetry/log.ts';
import type { CountedVolumes } from '../../telemetry/storage-metrics.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import type { Volume } from '../pod/volume.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { VolumeMeter } from '../ports/volume-meter.ts';
import type { MountedClaim, MountedVolume, Volumes } from '../ports/volumes.ts';
import { isWritten, writeAtomically } from './atomic-writer.ts';
import { memoryBytes, setUpEmpty } from './empty-dir.ts';
import type { EmptyFolder } from './empty-dir.ts';
import { checkClaimed, giveClaimed, keepClaimed, keptClaimed } from './claimed-folder.ts';
import type { ClaimedFolder, Claims } from './claims.ts';
import { FailedMounts } from './failed-mounts.ts';
import { checkHostPath } from './host-path.ts';
import { payloadOf } from './payloads.ts';
import type { PayloadSources } from './payloads.ts';
import type { PodDirectories } from './pod-directories.ts';
import { removeUnmounted, unmountBelow } from './removal.ts';
import { bindSubPath } from './sub-path.ts';
import type { Tokens } from './tokens.ts';
import { countVolumes } from './volume-counts.ts';
import { writtenStamp } from './written-stamp.ts';
import { isFiles, placeOf, pluginOf, usedVolumes } from './volume-place.ts';
import type { ClaimPlace, EmptyPlace, FilesPlace, Place } from './volume-place.ts';

export interface PodVolumesOptions {
  readonly directories: PodDirectories;
  readonly mounts: Mounts;
  readonly sources: PayloadSources;
  /** Undefined: there is no API server. */
  readonly claims: Pick<Claims, 'find'> | undefined;
  /** Undefined: there is no API server. */
  readonly tokens: Pick<Tokens, 'forget'> | undefined;
  readonly events: PodEvents;
  readonly meter?: Pick<VolumeMeter, 'volumeSetUp'>;
  readonly clock: Clock;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
}

/** What this process knows of a pod's volumes; the rest is on the disk. */
interface PodState {
  /** Set up by this process: `secret/keys`. */
  readonly done: Set<string>;
  /** Whose each is that is to be set up: `kubernetes.io/secret`, by `secret/keys`. */
  readonly plugins: Map<string, string>;
  readonly failures: FailedMounts;
  /** How those of files looked when they were found right, by volume. */
  readonly stamps: Map<string, string>;
  /** What claims are bound to, by volume. */
  readonly claimed: Map<string, Claimed>;
}

/** A claim of a pod, by its name, and what it is bound to. */
interface Claimed {
  readonly namespace: string;
  readonly claim: string;
  readonly folder: ClaimedFolder;
}

/** The volumes of pods (Kubernetes: Volumes). A pod's calls come one after the other, from its worker. */
export class PodVolumes implements Volumes {
  readonly #options: PodVolumesOptions;
  readonly #pods = new Map<string, PodState>();

  constructor(options: PodVolumesOptions) {
    this.#options = options;
  }

  async setUp(pod: Pod, signal: AbortSignal): Promise<ReadonlyMap<string, MountedVolume>> {
    const mounted = new Map<string, MountedVolume>();
    const problems: string[] = [];
    for (const volume of usedVolumes(pod)) {
      signal.throwIfAborted();
      try {
        mounted.set(volume.name, await this.#bringUp(pod, volume, signal));
      } catch (error) {
        signal.throwIfAborted();
        problems.push(errorText(error));
      }
    }
    if (problems.length === 0) return mounted;
    throw new SwitchyardError('object', problems.join('; '), { retryable: true });
  }

  async subPath(
    pod: Pod,
    volume: string,
    mounted: MountedVolume,
    container: string,
    index: number,
    subPath: string,
  ): Promise<string> {
    const { directories, mounts, log } = this.#options;
    const { uid } = pod.metadata;
    const target = directories.subPath(uid, volume, container, index);
    try {
      if (!mounted.managed) await mkdir(mounted.hostPath, { recursive: true });
      const never = new AbortController().signal;
      await bindSubPath(mounts, { root: mounted.hostPath, subPath, target }, never);
      return target;
    } catch (error) {
      // what it says of the node is not for those who can only read pods
      log.error({ pod: uid, volume, container }, `subPath of ${podText(pod)}: ${errorText(error)}`);
      const message = `failed to prepare subPath for volumeMount "${volume}" of container "${container}"`;
      throw new SwitchyardError('object', message, { cause: error, retryable: true });
    }
  }

  async tearDown(uid: string): Promise<void> {
    const { directories, mounts, tokens } = this.#options;
    const directory = directories.pod(uid);
    await unmountBelow(mounts, directory, new AbortController().signal);
    await removeUnmounted(mounts, directory);
    tokens?.forget(uid);
    this.#pods.delete(uid);
  }

  async known(): Promise<readonly string[]> {
    return this.#options.directories.known();
  }

  /** How many there are to be, and are, by who makes them; of pods that this process has set up something for, until it is removed. */
  counts(): readonly CountedVolumes[] {
    return countVolumes(this.#pods.values());
  }

  /** Claims that pods have, of as many pods as have them. */
  claims(): readonly MountedClaim[] {
    return [...this.#pods].flatMap(([uid, { claimed }]) =>
      [...claimed].map(([volume, { namespace, claim, folder }]) => {
        return { uid, volume, namespace, claim, path: folder.path };
      }),
    );
  }

  #stateOf(uid: string): PodState {
    const known = this.#pods.get(uid);
    if (known !== undefined) return known;
    const { events, clock } = this.#options;
    const state: PodState = {
      done: new Set(),
      plugins: new Map(),
      stamps: new Map(),
      failures: new FailedMounts(events, clock),
      claimed: new Map(),
    };
    this.#pods.set(uid, state);
    return state;
  }

  /** Sets one volume up, or brings it up to date. What cannot be brought up to date stays as it was. */
  async #bringUp(pod: Pod, volume: Volume, signal: AbortSignal): Promise<MountedVolume> {
    const place = placeOf(volume);
    const { done, failures } = this.#stateOf(pod.metadata.uid);
    const key = `${place?.kind ?? ''}/${volume.name}`;
    try {
      if (place === undefined) throw new Error('a volume of this kind is not supported');
      if (isFiles(place) || !done.has(key)) await this.#timed(pod, volume, place, signal);
      done.add(key);
      failures.isOver(volume.name);
    } catch (error) {
      signal.throwIfAborted();
      const message = `MountVolume.SetUp failed for volume ${JSON.stringify(volume.name)} : ${errorText(error)}`;
      failures.tell(pod, volume.name, message);
      const isKept = done.has(key) || (await this.#isReady(pod, volume, place));
      if (!isKept) throw new SwitchyardError('object', message, { cause: error, retryable: true });
    }
    return this.#mountedVolume(pod, volume, place);
  }

  /** Of a claim that could not be found nobody knows whose it would have been. */
  async #timed(pod: Pod, volume: Volume, place: Place, signal: AbortSignal): Promise<void> {
    const { clock, meter } = this.#options;
    const { plugins, claimed } = this.#stateOf(pod.metadata.uid);
    const begunMs = clock.monotonic();
    let failed = true;
    try {
      await this.#make(pod, volume, place, signal);
      failed = false;
    } finally {
      const plugin = pluginOf(place, claimed.get(volume.name)?.folder);
      if (plugin !== undefined && !signal.aborted) {
        plugins.set(`${place.kind}/${volume.name}`, plugin);
        meter?.volumeSetUp(plugin, (clock.monotonic() - begunMs) / 1000, failed);
      }
    }
  }

  async #make(pod: Pod, volume: Volume, place: Place, signal: AbortSignal): Promise<void> {
    if (isFiles(place)) return this.#setUpFiles(pod, volume, place, signal);
    switch (place.kind) {
      case 'host-path':
        return checkHostPath(place.hostPath);
      case 'claim':
        return this.#setUpClaim(pod, volume.name, place, signal);
      case 'empty-dir':
        return this.#setUpEmpty(pod, volume, place, signal);
      default:
        return place satisfies never;
    }
  }

  #mountedVolume(pod: Pod, { name }: Volume, place: Place | undefined): MountedVolume {
    if (place?.kind === 'host-path') {
      return { hostPath: place.hostPath.path, readOnly: false, managed: false };
    }
    if (place?.kind === 'claim') return this.#claimedVolume(pod, name, place);
    const kind = place?.kind ?? 'empty-dir';
    const hostPath = this.#options.directories.volume(pod.metadata.uid, kind, name);
    return { hostPath, readOnly: kind !== 'empty-dir', managed: true };
  }

  /** What was bound to once is asked for no more: the API server may be away. */
  async #setUpClaim(
    pod: Pod,
    name: string,
    { claim }: ClaimPlace,
    signal: AbortSignal,
  ): Promise<void> {
    const { directories, claims } = this.#options;
    const { uid, namespace } = pod.metadata;
    const { claimName, readOnly = false } = claim;
    const file = directories.claim(uid, name);
    let folder = await keptClaimed(file);
    if (folder === undefined) {
      if (claims === undefined) throw new Error('there is no API server to ask for the claim');
      folder = await claims.find(namespace, claimName, name, signal);
      await checkClaimed(folder);
      if (!readOnly) await giveClaimed(folder, pod);
      await keepClaimed(file, folder);
    } else await checkClaimed(folder);
    this.#stateOf(uid).claimed.set(name, { namespace, claim: claimName, folder });
  }

  #claimedVolume(pod: Pod, name: string, { claim }: ClaimPlace): MountedVolume {
    const folder = this.#stateOf(pod.metadata.uid).claimed.get(name)?.folder;
    if (folder === undefined) throw new Error(`the claim of volume ${name} is not bound`);
    const readOnly = claim.readOnly ?? false;
    return { hostPath: folder.path, readOnly, managed: folder.source === 'local' };
  }

  async #setUpEmpty(
    pod: Pod,
    { name }: Volume,
    { medium, sizeLimit }: EmptyPlace,
    signal: AbortSignal,
  ): Promise<void> {
    const { directories, sources } = this.#options;
    const { uid } = pod.metadata;
    const isMemory = medium === 'Memory';
    if (!isMemory && medium !== '') throw new Error(`medium ${medium} is not supported`);
    const folder: EmptyFolder = {
      path: directories.volume(uid, 'empty-dir', name),
      marker: directories.marker(uid, name),
      medium: isMemory ? 'memory' : 'disk',
      sizeBytes: isMemory ? memoryBytes(pod, sizeLimit, sources.allocatable) : undefined,
    };
    await setUpEmpty(folder, pod, this.#options, signal);
  }

  /** All that it needs is had before anything is made, so that a volume that is there is one that was whole. */
  async #setUpFiles(
    pod: Pod,
    volume: Volume,
    { kind }: FilesPlace,
    signal: AbortSignal,
  ): Promise<void> {
    const { directories, sources, clock, random } = this.#options;
    const payload = await payloadOf(pod, volume, sources, signal);
    if (payload === undefined) throw new Error('it holds no files');
    const { uid } = pod.metadata;
    const path = directories.volume(uid, kind, volume.name);
    const { fsGroup } = pod.spec.securityContext;
    const write = { payload, fsGroup, nowMs: clock.now(), random };
    const { stamps } = this.#stateOf(uid);
    const before = await writtenStamp(path, write);
    if (before !== undefined && before === stamps.get(volume.name)) return;
    stamps.delete(volume.name);
    const marker = directories.marker(uid, `wrapped_${volume.name}`);
    if (kind === 'configmap') {
      await setUpEmpty({ path, marker, medium: 'disk' }, pod, this.#options, signal);
    } else {
      const sizeBytes = memoryBytes(pod, undefined, sources.allocatable);
      await setUpEmpty({ path, marker, medium: 'memory', sizeBytes }, pod, this.#options, signal);
    }
    const isNew = await writeAtomically(path, write);
    // Nobody touched it while all of it was read, and found right.
    const isSeen = !isNew && before !== undefined && before === (await writtenStamp(path, write));
    if (isSeen) stamps.set(volume.name, before);
  }

  /** Whether an earlier process set it up whole. */
  async #isReady(pod: Pod, { name }: Volume, place: Place | undefined): Promise<boolean> {
    if (place === undefined || !isFiles(place)) return false;
    const path = this.#options.directories.volume(pod.metadata.uid, place.kind, name);
    return isWritten(path);
  }
}
