import { chmod, mkdir, readFile, readdir, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent } from '../../error.ts';
import { hostsFile, nodeHostsFile } from '../environment/hosts-file.ts';
import type { Pod } from '../pod/pod.ts';
import type { LogFolders } from './log-folders.ts';
import { podDir, podLogDir } from './settings.ts';
import type { RuntimeSettings } from './settings.ts';

/** What others see of {@link ContainerFiles}. */
export type Files = Pick<ContainerFiles, keyof ContainerFiles>;

/** The files that a container brings along on the node: logs, links to them, its hosts file, its last words. */
export class ContainerFiles {
  readonly #settings: RuntimeSettings;
  readonly #logFolders: Pick<LogFolders, 'note'>;
  readonly #randomHex: () => string;

  constructor(
    settings: RuntimeSettings,
    logFolders: Pick<LogFolders, 'note'>,
    randomHex: () => string,
  ) {
    this.#settings = settings;
    this.#logFolders = logFolders;
    this.#randomHex = randomHex;
  }

  /** The pod's own directories, before anything of it runs. */
  async makePodDirs(pod: Pick<Pod, 'metadata'>): Promise<void> {
    await this.#logFolders.note(pod);
    const dir = podDir(this.#settings, pod.metadata.uid);
    for (const name of ['volumes', 'plugins']) {
      await mkdir(join(dir, name), { recursive: true, mode: 0o750 });
    }
  }

  async makeLogDir(pod: Pick<Pod, 'metadata'>, container?: string): Promise<void> {
    const dir = podLogDir(this.#settings, pod);
    const path = container === undefined ? dir : join(dir, container);
    await mkdir(path, { recursive: true, mode: 0o755 });
  }

  /** The first restart count that no log of this container has: the runtime may have forgotten what is still on the disk. */
  async attemptAfterLogs(pod: Pick<Pod, 'metadata'>, container: string): Promise<number> {
    const names = await list(join(podLogDir(this.#settings, pod), container));
    const numbers = names.flatMap((name) => {
      const found = /^(\d+)\.log/.exec(name)?.[1];
      return found === undefined ? [] : [Number(found)];
    });
    return Math.max(-1, ...numbers) + 1;
  }

  /** An empty file that whoever runs in the container may write. */
  async makeTerminationMessage(pod: Pick<Pod, 'metadata'>, container: string): Promise<string> {
    const dir = join(podDir(this.#settings, pod.metadata.uid), 'containers', container);
    await mkdir(dir, { recursive: true, mode: 0o750 });
    const path = join(dir, this.#randomHex());
    await writeFile(path, '');
    await chmod(path, 0o666);
    return path;
  }

  /** One for all containers of the pod. */
  async writeHosts(
    pod: Pick<Pod, 'metadata' | 'spec'>,
    podIPs: readonly string[],
    names: { readonly hostname: string; readonly domain: string },
  ): Promise<string> {
    const path = join(podDir(this.#settings, pod.metadata.uid), 'etc-hosts');
    const { hostAliases, hostNetwork } = pod.spec;
    const text = hostNetwork
      ? nodeHostsFile(await readFile('/etc/hosts', 'utf8').catch(() => ''), hostAliases)
      : hostsFile(podIPs, names, hostAliases);
    await writeFile(path, text);
    await chmod(path, 0o644);
    return path;
  }

  /** `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, as log collectors look for it. */
  async linkLog(
    pod: Pick<Pod, 'metadata'>,
    container: string,
    id: string,
    attempt: number,
  ): Promise<void> {
    const { name, namespace } = pod.metadata;
    const ending = `-${id}.log`;
    const begin = `${name}_${namespace}_${container}`.slice(0, 255 - ending.length);
    const link = join(this.#settings.containerLogsDir, begin + ending);
    await mkdir(this.#settings.containerLogsDir, { recursive: true, mode: 0o755 });
    await unlink(link).catch(ignoreAbsent);
    await symlink(join(podLogDir(this.#settings, pod), container, `${attempt}.log`), link);
  }
}

function ignoreAbsent(thrown: unknown): void {
  if (!isAbsent(thrown)) throw thrown;
}

async function list(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch (thrown) {
    if (isAbsent(thrown)) return [];
    throw thrown;
  }
}
