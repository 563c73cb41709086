import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import type { CgroupLimits, CgroupTree } from '../../host/cgroups.ts';
import type { SystemdSlices } from '../../host/systemd-slices.ts';
import { AtOnce } from '../at-once.ts';
import { systemdSlice } from './slice-names.ts';

export interface SliceTreeOptions {
  /** `/`, or what all slices of this node are below. */
  readonly root: string;
  readonly slices: Pick<SystemdSlices, 'start' | 'limit' | 'stop'>;
  /** The kernel's whole tree, to look at. */
  readonly tree: Pick<CgroupTree, 'exists' | 'children' | 'raised'>;
  readonly clock: Clock;
}

const suffix = '.slice';
const lookEveryMs = 5;
const longestMs = 5000;
/** A `_` of these was a `-`. */
const uuid = /^pod[0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12}$/;

/** The same as a {@link CgroupTree}, where systemd alone may make, limit and remove: each cgroup is a slice of it. */
export class SliceTree {
  readonly #options: SliceTreeOptions;
  /** What each was limited to by this process. */
  readonly #limited = new Map<string, string>();
  readonly #turns = new AtOnce(1);
  readonly #never = new AbortController().signal;

  constructor(options: SliceTreeOptions) {
    this.#options = options;
  }

  async make(
    path: string,
    limits: CgroupLimits | undefined,
    { raising = false } = {},
  ): Promise<boolean> {
    // Pods that begin together have classes in common: systemd refuses the second of two that begin the same.
    return this.#turns.with(this.#never, async () => this.#make(path, limits, raising));
  }

  async exists(path: string): Promise<boolean> {
    return this.#options.tree.exists(this.#of(path).place);
  }

  /** Names directly below `path`, but for those that may stand for more than one. */
  async children(path: string): Promise<readonly string[]> {
    const { place, unit } = this.#of(path);
    const prefix = `${unit.slice(0, -suffix.length)}-`;
    const found = (await this.#options.tree.children(place)).flatMap((name) => {
      if (!name.startsWith(prefix) || !name.endsWith(suffix)) return [];
      const own = name.slice(prefix.length, -suffix.length);
      if (uuid.test(own)) return [own.replaceAll('_', '-')];
      return own.includes('_') ? [] : [own];
    });
    return found.toSorted();
  }

  async remove(path: string): Promise<void> {
    const { place, unit } = this.#of(path);
    this.#limited.delete(path);
    if (!(await this.#options.tree.exists(place))) return;
    await this.#options.slices.stop(unit);
    await this.#until(place, false);
  }

  async #make(path: string, limits: CgroupLimits | undefined, raising: boolean): Promise<boolean> {
    const { slices, tree } = this.#options;
    const { place, unit } = this.#of(path);
    const isThere = await tree.exists(place);
    const wanted =
      limits !== undefined && raising && isThere ? await tree.raised(place, limits) : limits;
    const text = wanted === undefined ? '' : Object.values(wanted).join(' ');
    if (!isThere) {
      await slices.start(unit, wanted);
      await this.#until(place, true);
    } else if (wanted !== undefined && this.#limited.get(path) !== text) {
      await slices.limit(unit, wanted);
    }
    this.#limited.set(path, text);
    return !isThere;
  }

  #of(path: string): { readonly place: string; readonly unit: string } {
    const place = systemdSlice(this.#options.root, path);
    return { place, unit: place.slice(place.lastIndexOf('/') + 1) };
  }

  /** systemd answers when it has taken note, and does it a moment later. */
  async #until(place: string, isThere: boolean): Promise<void> {
    const { clock, tree } = this.#options;
    const endMs = clock.monotonic() + longestMs;
    while ((await tree.exists(place)) !== isThere) {
      if (clock.monotonic() > endMs) {
        const text = `systemd has not ${isThere ? 'made' : 'removed'} ${place} within ${longestMs / 1000} s`;
        throw new SwitchyardError('tool', text, { retryable: true });
      }
      await clock.sleep(lookEveryMs);
    }
  }
}
