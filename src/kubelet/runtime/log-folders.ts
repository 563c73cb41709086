import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent } from '../../error.ts';
import type { Pod } from '../pod/pod.ts';
import { podLogDir } from './settings.ts';
import type { RuntimeSettings } from './settings.ts';

/** A folder with the logs of a pod that is or was on this node. */
export interface LogFolder {
  readonly uid: string;
  /** `/var/log/pods/NAMESPACE_NAME_UID` */
  readonly path: string;
}

/**
 * Which folders of logs are this node's: several nodes, and other agents, may have theirs side by side. Kept in the root directory, as an
 * empty file a folder, for longer than anything else of the pod.
 */
export class LogFolders {
  readonly #settings: Pick<RuntimeSettings, 'rootDir' | 'podLogsDir'>;
  readonly #noted = new Set<string>();

  constructor(settings: Pick<RuntimeSettings, 'rootDir' | 'podLogsDir'>) {
    this.#settings = settings;
  }

  /** Before anything of the pod runs. */
  async note(pod: Pick<Pod, 'metadata'>): Promise<void> {
    const name = nameOf(podLogDir(this.#settings, pod));
    if (this.#noted.has(name)) return;
    await mkdir(this.#records, { recursive: true, mode: 0o750 });
    await writeFile(join(this.#records, name), '');
    this.#noted.add(name);
  }

  /** All that were noted and are not forgotten. */
  async known(): Promise<readonly LogFolder[]> {
    const names = await readdir(this.#records).catch((error: unknown): string[] => {
      if (isAbsent(error)) return [];
      throw error;
    });
    return names.toSorted().map((name) => ({
      uid: name.slice(name.lastIndexOf('_') + 1),
      path: join(this.#settings.podLogsDir, name),
    }));
  }

  /** When it is removed. */
  async forget({ path }: LogFolder): Promise<void> {
    const name = nameOf(path);
    this.#noted.delete(name);
    await rm(join(this.#records, name), { force: true });
  }

  get #records(): string {
    return join(this.#settings.rootDir, 'log-folders');
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
