import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Client } from '@connectrpc/connect';
import type { Clock } from '../../clock.ts';
import { errorText, isAbsent } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { RuntimeService } from '../cri/gen/api_pb.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';

export interface LogRotationOptions {
  readonly runtime: Pick<Client<typeof RuntimeService>, 'reopenContainerLog'>;
  readonly clock: Clock;
  readonly log: Log;
  /** `containerLogMaxSize`; negative: nothing is rotated. */
  readonly maxBytes: number;
  /** `containerLogMaxFiles`, the one that is written among them; at least 2. */
  readonly maxFiles: number;
  /** `containerLogMaxWorkers`: so many at a time. */
  readonly workers: number;
}

/** Rotates the logs of running containers that have grown (Kubernetes: Logging Architecture): the runtime only writes. */
export class LogRotation {
  readonly #options: LogRotationOptions;

  constructor(options: LogRotationOptions) {
    this.#options = options;
  }

  /** Looks at all. */
  async look(pods: Iterable<RuntimePod>, signal: AbortSignal): Promise<void> {
    if (this.#options.maxBytes < 0) return;
    const running = [...pods]
      .flatMap(({ containers }) => containers)
      .filter(({ state, logPath }) => state === 'running' && logPath !== '');
    const due = running.values();
    const worker = async (): Promise<void> => {
      for (const { id, logPath } of due) {
        if (signal.aborted) return;
        await this.#try(id, logPath);
      }
    };
    await Promise.all(Array.from({ length: this.#options.workers }, worker));
  }

  async #try(id: string, path: string): Promise<void> {
    try {
      await this.#lookAt(id, path);
    } catch (error) {
      const text = `the log of a container could not be rotated: ${errorText(error)}`;
      this.#options.log.warn({ container: id, path }, text);
    }
  }

  async #lookAt(id: string, path: string): Promise<void> {
    const size = await sizeOf(path);
    if (size === undefined) await this.#reopen(id);
    else if (size >= this.#options.maxBytes) await this.#rotate(id, path);
  }

  async #rotate(id: string, path: string): Promise<void> {
    const { maxFiles, clock } = this.#options;
    const folder = dirname(path);
    const plan = planRotation(await readdir(folder), basename(path), maxFiles, clock.now());
    for (const name of plan.remove) await rm(join(folder, name), { force: true });
    for (const name of plan.compress) await compress(join(folder, name));
    const rotated = join(folder, plan.rename);
    // Twice within a second: the next look does it.
    if ((await sizeOf(rotated)) !== undefined) return;
    await rename(path, rotated);
    try {
      await this.#reopen(id);
    } catch (error) {
      // The runtime still writes to the file that it has open: it gets its name back.
      if ((await sizeOf(path)) === undefined) await rename(rotated, path);
      throw error;
    }
  }

  async #reopen(containerId: string): Promise<void> {
    await this.#options.runtime.reopenContainerLog({ containerId });
  }
}

/** What is done in the folder of a log. Names only. */
export interface RotationPlan {
  readonly remove: readonly string[];
  readonly compress: readonly string[];
  /** What the present log is called from now on. */
  readonly rename: string;
}

/** `0.log.20260102-030405`, compressed with `.gz`; the newest stays as it is. `maxFiles` counts all, the present log too. */
export function planRotation(
  names: readonly string[],
  current: string,
  maxFiles: number,
  nowMs: number,
): RotationPlan {
  const own = names.filter((each) => each.startsWith(`${current}.`));
  const unfinished = own.filter((each) => each.endsWith('.tmp'));
  const rotated = own
    .filter((each) => /\.\d{8}-\d{6}(\.gz)?$/.test(each))
    // Compressed to the end, and then not removed.
    .filter((each) => !own.includes(`${each}.gz`))
    .toSorted();
  const doubled = own.filter((each) => own.includes(`${each}.gz`));
  const excess = rotated.slice(0, Math.max(0, rotated.length - Math.max(0, maxFiles - 2)));
  const kept = rotated.slice(excess.length);
  const stamp = new Date(nowMs)
    .toISOString()
    .replaceAll(/[-:]|\..*$/g, '')
    .replace('T', '-');
  return {
    remove: [...unfinished, ...doubled, ...excess],
    compress: kept.filter((each) => !each.endsWith('.gz')),
    rename: `${current}.${stamp}`,
  };
}

async function compress(path: string): Promise<void> {
  const unfinished = `${path}.tmp`;
  await pipeline(
    createReadStream(path),
    createGzip(),
    createWriteStream(unfinished, { mode: 0o640 }),
  );
  await rename(unfinished, `${path}.gz`);
  await rm(path, { force: true });
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
