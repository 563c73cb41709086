import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { readDockerConfig } from './docker-config.ts';
import type { RegistryCredential } from './docker-config.ts';

export interface NodeCredentialsOptions {
  readonly rootDir: string;
  /** Of the user that runs the agent. */
  readonly home: string;
  readonly log: Log;
}

/** More than this is no docker configuration. */
const mostBytes = 1024 * 1024;

/**
 * What a node itself has for registries: the first docker configuration that is found below the root directory, at the user's home, or at
 * the root of the file system. It is read for each pull, so that a changed one counts at once.
 */
export class NodeCredentials {
  readonly #options: NodeCredentialsOptions;
  readonly #files: readonly (readonly [string, '.dockerconfigjson' | '.dockercfg'])[];
  /** What the log has of each file. */
  readonly #told = new Map<string, string>();

  constructor(options: NodeCredentialsOptions) {
    this.#options = options;
    const { rootDir, home } = options;
    this.#files = [
      ...[rootDir, join(home, '.docker'), '/.docker'].map(
        (folder) => [join(folder, 'config.json'), '.dockerconfigjson'] as const,
      ),
      ...[rootDir, home, '/'].map((folder) => [join(folder, '.dockercfg'), '.dockercfg'] as const),
    ];
  }

  /** Of the first file that can be read; one that cannot is told of once. Rejects never. */
  async read(): Promise<readonly RegistryCredential[]> {
    for (const [path, form] of this.#files) {
      try {
        const data = await readAtMost(path);
        if (data === undefined) continue;
        const found = readDockerConfig(data, form);
        this.#told.delete(path);
        return found;
      } catch (error) {
        this.#complain(path, errorText(error));
      }
    }
    return [];
  }

  #complain(path: string, why: string): void {
    if (this.#told.get(path) === why) return;
    this.#told.set(path, why);
    this.#options.log.warn({ path }, `credentials for registries in ${path} do not count: ${why}`);
  }
}

/** undefined: it is not there. */
async function readAtMost(path: string): Promise<Uint8Array | undefined> {
  const found = await stat(path).catch(absent);
  if (found === undefined) return undefined;
  if (!found.isFile()) throw new Error('it is no regular file');
  if (found.size > mostBytes) {
    throw new Error(`it has ${found.size} bytes, at most ${mostBytes} are read`);
  }
  return readFile(path);
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
