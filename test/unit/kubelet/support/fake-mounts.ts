import type { MountPoint, Mounts, TmpfsOptions } from '../../../../src/host/mounts.ts';

/** A table of mounts that changes nothing on the machine: what is written to a tmpfs lies in its folder. */
export class FakeMounts implements Mounts {
  readonly calls: string[] = [];
  #points: MountPoint[] = [{ path: '/', type: 'ext4', shared: true }];

  async list(): Promise<readonly MountPoint[]> {
    return this.#points;
  }

  async begins(path: string): Promise<boolean> {
    return this.#points.some((point) => point.path === path);
  }

  async tmpfs(target: string, { sizeBytes, mode }: TmpfsOptions): Promise<void> {
    this.calls.push(`tmpfs ${target} ${sizeBytes ?? ''} ${mode}`);
    this.add(target, 'tmpfs');
  }

  async bind(source: string, target: string): Promise<void> {
    this.calls.push(`bind ${source} ${target}`);
    this.add(target, 'ext4');
  }

  async unmount(target: string): Promise<void> {
    this.calls.push(`unmount ${target}`);
    const at = this.#points.findLastIndex(({ path }) => path === target);
    if (at === -1) throw new Error(`${target}: not mounted`);
    this.#points = this.#points.toSpliced(at, 1);
  }

  async share(target: string): Promise<void> {
    this.calls.push(`share ${target}`);
  }

  /** As somebody else does. */
  add(path: string, type: string): void {
    this.#points = [...this.#points, { path, type, shared: false }];
  }
}
