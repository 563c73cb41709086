import { KeptFile } from '../../host/kept-file.ts';

/** Since when an image is known, and when a container had it last; by the wall clock. */
export interface ImageRecord {
  readonly detectedMs: number;
  /** 0: none had it since it is known. */
  readonly usedMs: number;
}

/** An image as the runtime lists it. */
export interface KnownImage {
  readonly id: string;
  readonly isUsed: boolean;
}

/** More than a node ever has; a file that is larger is none of ours. */
const mostKept = 10_000;

/** What is known of images, kept in a file: one that nobody has used for a week is as old after a restart of the agent. */
export class ImageRecords {
  readonly #file: KeptFile;
  #records: ReadonlyMap<string, ImageRecord> | undefined;

  constructor(path: string) {
    this.#file = new KeptFile(path);
  }

  /** Takes note of the images that are there now; others are forgotten. */
  async note(images: readonly KnownImage[], nowMs: number): Promise<void> {
    const before = this.#records ?? (await this.#read());
    const now = images.map(({ id, isUsed }) => {
      const { detectedMs, usedMs } = before.get(id) ?? { detectedMs: nowMs, usedMs: 0 };
      // A clock that was put back makes nothing younger than it is.
      const record = { detectedMs: Math.min(detectedMs, nowMs), usedMs: isUsed ? nowMs : usedMs };
      return [id, record] as const;
    });
    this.#records = new Map(now);
    // On a disk that is full there is no room for this either, and images are to go all the more.
    await this.#file.write(JSON.stringify({ images: Object.fromEntries(now) })).catch(() => {});
  }

  of(id: string): ImageRecord | undefined {
    return this.#records?.get(id);
  }

  /** What cannot be read is as if it were not there: images are younger then than they are, and stay for longer. */
  async #read(): Promise<ReadonlyMap<string, ImageRecord>> {
    try {
      const found = JSON.parse((await this.#file.read()) ?? '{}') as { images?: object };
      const entries = Object.entries(found.images ?? {}).slice(0, mostKept);
      return new Map(entries.filter((entry): entry is [string, ImageRecord] => isRecord(entry[1])));
    } catch {
      return new Map();
    }
  }
}

function isRecord(value: unknown): value is ImageRecord {
  const { detectedMs, usedMs } = (value ?? {}) as Partial<ImageRecord>;
  return Number.isFinite(detectedMs) && Number.isFinite(usedMs);
}
