import type { Clock } from '../../clock.ts';
import type { ImageGcConfig } from '../../config/eviction-config.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { DiskSpace } from '../../host/disk-space.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Cri } from '../cri/client.ts';
import { criText } from '../cri/cri-error.ts';
import type { NodeEvents } from '../ports/node-events.ts';
import { isKept, isNamed, leastUsedFirst, pauseImageOf, usedNames } from './image-choice.ts';
import type { ListedImage } from './image-choice.ts';
import type { ImageRecord, ImageRecords } from './image-records.ts';

export interface ImageGcOptions {
  readonly config: ImageGcConfig;
  readonly images: Pick<Cri['images'], 'listImages' | 'removeImage' | 'imageFsInfo'>;
  readonly runtime: Pick<Cri['runtime'], 'listContainers' | 'status'>;
  readonly records: ImageRecords;
  /** Images that pods of this node name: they may be about to start. */
  readonly wanted: () => Iterable<string>;
  /** Whether all pods of this node are known; before, nothing is removed. */
  readonly isReady: () => boolean;
  readonly readSpace: (folder: string) => Promise<DiskSpace>;
  readonly events: NodeEvents;
  /** Counts images that went: for want of `space`, for their `age`. */
  readonly removed: (reason: 'space' | 'age') => void;
  readonly clock: Clock;
  readonly log: Log;
}

interface Unused {
  readonly image: ListedImage;
  readonly record: ImageRecord;
}

const everyMs = 300_000;

/**
 * Removes images that no container has (Kubernetes: Garbage Collection): for their age, and where their disk is fuller than it may be,
 * those that were used least lately first. What any container on the runtime has, whoever runs it, what is pinned, and the image of
 * sandboxes stay.
 */
export class ImageGc {
  readonly #options: ImageGcOptions;
  #hasFailed = false;
  /** One at a time: what one removes is no room that another finds. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(options: ImageGcOptions) {
    this.#options = options;
  }

  /** Each five minutes until `signal`. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, config, events, log } = this.#options;
    const isOff = config.highPercent === 100 && config.maxAgeMs === 0;
    const begun = isOff ? undefined : this.#begin(signal);
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal);
      if (signal.aborted || isOff) continue;
      try {
        await this.collect(signal);
        this.#hasFailed = false;
      } catch (error) {
        if (signal.aborted) break;
        log.warn({}, `images: ${errorText(error)}`);
        // Once may be a runtime that was just away.
        if (this.#hasFailed) events.tell('Warning', 'ImageGCFailed', errorText(error));
        this.#hasFailed = true;
      }
    }
    await begun;
  }

  /** What is there already is known from now on; where it cannot be listed yet, from the first look on. */
  async #begin(signal: AbortSignal): Promise<void> {
    await this.#alone(async () => void (await this.#unused(signal))).catch(() => {});
  }

  /** By age, then for want of room. Rejects where there is not as much room as there should be afterwards. Nothing before all pods are known. */
  async collect(signal: AbortSignal): Promise<void> {
    if (!this.#options.isReady()) return;
    return this.#alone(async () => {
      const unused = await this.#unused(signal);
      const left = await this.#removeOld(unused, signal);
      await this.#makeRoom(left, signal);
    });
  }

  /** All that nobody uses goes, whatever its age: the disk is short. */
  async removeUnused(signal: AbortSignal): Promise<void> {
    if (!this.#options.isReady()) return;
    return this.#alone(async () => {
      for (const each of await this.#unused(signal)) await this.#remove(each, 'space', signal);
    });
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    const mine = this.#busy.then(work);
    this.#busy = mine.catch(() => {});
    return mine;
  }

  /** Least used first. What is used is asked for after the images were listed: one that comes meanwhile is none of them. */
  async #unused(signal: AbortSignal): Promise<readonly Unused[]> {
    const { images, runtime, records, clock } = this.#options;
    const { images: all } = await images.listImages({}, { signal });
    const { info } = await runtime.status({ verbose: true }, { signal });
    const used = await this.#used(signal);
    const pauseImage = pauseImageOf(info);
    const known = all
      .filter(({ id }) => id !== '')
      .map((image) => ({ image, id: image.id, isUsed: isNamed(image, used) }));
    await records.note(known, clock.now());
    const free = known.flatMap(({ image, isUsed }): readonly Unused[] => {
      const record = records.of(image.id);
      return isUsed || record === undefined || isKept(image, pauseImage) ? [] : [{ image, record }];
    });
    return leastUsedFirst(free);
  }

  /** What containers and pods have now. */
  async #used(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const { runtime, wanted } = this.#options;
    const { containers } = await runtime.listContainers({}, { signal });
    const named = containers.flatMap(({ image, imageRef }) => [image?.image ?? '', imageRef]);
    return usedNames([...named, ...wanted()]);
  }

  async #removeOld(unused: readonly Unused[], signal: AbortSignal): Promise<readonly Unused[]> {
    const { config, clock } = this.#options;
    const sinceMs = ({ record }: Unused): number => Math.max(record.usedMs, record.detectedMs);
    const isOld = (each: Unused): boolean =>
      config.maxAgeMs > 0 && clock.now() - sinceMs(each) > config.maxAgeMs;
    for (const each of unused.filter(isOld)) await this.#remove(each, 'age', signal);
    return unused.filter((each) => !isOld(each));
  }

  async #makeRoom(unused: readonly Unused[], signal: AbortSignal): Promise<void> {
    const { config, clock, events, log } = this.#options;
    if (config.highPercent === 100) return;
    const folder = await this.#folder(signal);
    const space = await this.#space(folder);
    const missing = missingBytes(space, config);
    if (missing === undefined) return;
    log.info(
      { percent: usedPercent(space) },
      'the disk with the images is fuller than it may be; those that nobody uses go',
    );
    const oldEnough = unused.filter(
      ({ record }) => clock.now() - record.detectedMs >= config.minAgeMs,
    );
    let freed = 0;
    for (const each of oldEnough) {
      if (freed >= missing || (await this.#hasRoom(folder))) return;
      if (await this.#remove(each, 'space', signal)) freed += Number(each.image.size);
    }
    if (freed >= missing || (await this.#hasRoom(folder))) return;
    const message = `Failed to garbage collect required amount of images. Attempted to free ${missing} bytes, but only found ${freed} bytes eligible to free.`;
    events.tell('Warning', 'FreeDiskSpaceFailed', message);
    throw new SwitchyardError('tool', message, { retryable: true });
  }

  /** Whether one is less full than it has to be made: images share layers, so that their sizes say it by half. */
  async #hasRoom(folder: string): Promise<boolean> {
    return usedPercent(await this.#space(folder)) <= this.#options.config.lowPercent;
  }

  async #folder(signal: AbortSignal): Promise<string> {
    const { imageFilesystems } = await this.#options.images.imageFsInfo({}, { signal });
    const folder = imageFilesystems[0]?.fsId?.mountpoint ?? '';
    if (folder !== '') return folder;
    throw new SwitchyardError('tool', 'the container runtime does not say where its images are');
  }

  async #space(folder: string): Promise<DiskSpace> {
    const space = await this.#options.readSpace(folder);
    if (space.bytes > 0 && space.availableBytes >= 0 && space.availableBytes <= space.bytes)
      return space;
    const message = `invalid capacity ${space.bytes} on image filesystem`;
    this.#options.events.tell('Warning', 'InvalidDiskCapacity', message);
    throw new SwitchyardError('tool', message);
  }

  /**
   * Whether it is gone; why not, is in the log. Those before it may have taken minutes: a pod that came meanwhile has been told that its image
   * is there.
   */
  async #remove({ image }: Unused, reason: 'space' | 'age', signal: AbortSignal): Promise<boolean> {
    const { images, log, removed } = this.#options;
    signal.throwIfAborted();
    const name = image.repoTags[0] ?? image.repoDigests[0] ?? image.id;
    if (isNamed(image, await this.#used(signal))) {
      log.info({ image: name }, 'an image is used by now, and stays');
      return false;
    }
    try {
      await images.removeImage({ image: { image: image.id } }, { signal });
    } catch (thrown) {
      signal.throwIfAborted();
      log.warn({ image: name }, `an image could not be removed: ${criText(thrown)}`);
      return false;
    }
    log.info(
      { image: name, reason, bytes: Number(image.size) },
      'an image that nobody uses is removed',
    );
    removed(reason);
    return true;
  }
}

/** Whole percents, as those of the thresholds. */
function usedPercent({ bytes, availableBytes }: DiskSpace): number {
  return 100 - Math.floor((availableBytes * 100) / bytes);
}

/** How much has to go; undefined: the disk is not so full. */
function missingBytes(space: DiskSpace, config: ImageGcConfig): number | undefined {
  if (usedPercent(space) < config.highPercent) return undefined;
  return Math.floor((space.bytes * (100 - config.lowPercent)) / 100) - space.availableBytes;
}
