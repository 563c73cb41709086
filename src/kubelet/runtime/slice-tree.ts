import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import { limitsText } from '../../host/cgroups.ts';
import type { CgroupChange, CgroupLimits, CgroupTree } from '../../host/cgroups.ts';
import { BusRefusal } from '../../host/system-bus.ts';
import type { SystemdSlices } from '../../host/systemd-slices.ts';
import type { Log } from '../../telemetry/log.ts';
import { AtOnce } from '../at-once.ts';
import type { MakingOptions } from './cgroups.ts';
import { systemdSlice } from './slice-names.ts';

export interface SliceTreeOptions {
  /** `/`, or what all slices of this node are below. */
  readonly root: string;
  readonly slices: Pick<SystemdSlices, 'start' | 'limit' | 'stop'>;
  /** The kernel's whole tree: to look at, and to take out of it what systemd leaves there. */
  readonly tree: Pick<CgroupTree, 'exists' | 'children' | 'raised' | 'remove'>;
  readonly clock: Clock;
  readonly log: Log;
}

const suffix = '.slice';
const lookEveryMs = 5;
const longestMs = 5000;
/** A `_` of these was a `-`. */
const uuid = /^pod[0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12}$/;

/** The same as a {@link CgroupTree}, where systemd alone may make and limit: each cgroup is a slice of it. */
export class SliceTree {
  readonly #options: SliceTreeOptions;
  /** What each was limited to by this process. */
  readonly #limited = new Map<string, string>();
  /** What each was last asked to have, where that is what it has. */
  readonly #asked = new Map<string, string>();
  /** Limits that systemd has not taken yet, of what stands. */
  readonly #owed = new Map<string, CgroupLimits>();
  readonly #turns = new AtOnce(1);
  readonly #never = new AbortController().signal;
  /** Why it did not take those; undefined: it has taken all. */
  #whyOwed: string | undefined;
  /** Until when systemd is asked for nothing, for it has not answered. */
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #silence: unknown;

  constructor(options: SliceTreeOptions) {
    this.#options = options;
  }

  /** Rejects where it does not stand and systemd does not make it. What stands is good enough to go on: its limits are given again later. */
  async make(
    path: string,
    limits: CgroupLimits | undefined,
    { raising = false, signal = this.#never }: MakingOptions = {},
  ): Promise<CgroupChange> {
    if ((await this.#lacks(path, limits, raising)) === 'nothing') return 'none';
    // Pods that begin together have classes in common: systemd refuses the second of two that begin the same.
    return this.#turns.with(signal, async () => this.#make(path, limits, raising));
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

  /** Whatever systemd does not end within its time is killed; with version 1, the runtime has made folders that systemd knows nothing of. */
  async remove(path: string): Promise<void> {
    const { slices, tree } = this.#options;
    const { place, unit } = this.#of(path);
    this.#limited.delete(path);
    this.#asked.delete(path);
    this.#owed.delete(path);
    if (await tree.exists(place)) {
      await this.#ask(async () => slices.stop(unit));
      await this.#becomes(place, false);
    }
    await tree.remove(place);
  }

  async #make(
    path: string,
    limits: CgroupLimits | undefined,
    raising: boolean,
  ): Promise<CgroupChange> {
    const { place, unit } = this.#of(path);
    const lacks = await this.#lacks(path, limits, raising);
    if (lacks === 'nothing') return 'none';
    if (lacks !== 'all') {
      await this.#limit(path, lacks);
      return 'update';
    }
    await this.#ask(async () => this.#options.slices.start(unit, limits));
    if (!(await this.#becomes(place, true))) {
      const text = `systemd has not made ${place} within ${longestMs / 1000} s`;
      throw new SwitchyardError('tool', text, { retryable: true });
    }
    this.#took(path, limits);
    return 'create';
  }

  /** All of it, nothing, or these limits. */
  async #lacks(
    path: string,
    limits: CgroupLimits | undefined,
    raising: boolean,
  ): Promise<'all' | 'nothing' | CgroupLimits> {
    const { tree } = this.#options;
    const { place } = this.#of(path);
    if (!(await tree.exists(place))) return 'all';
    if (limits === undefined) return 'nothing';
    const asked = limitsText(limits, raising);
    if (this.#asked.get(path) === asked) return 'nothing';
    const wanted = raising ? await tree.raised(place, limits) : limits;
    if (this.#limited.get(path) !== limitsText(wanted, false)) return wanted;
    this.#asked.set(path, asked);
    return 'nothing';
  }

  /** With all that is owed, once systemd takes it again. Rejects never. */
  async #limit(path: string, limits: CgroupLimits): Promise<void> {
    const { log, slices } = this.#options;
    // At its end, from where it comes first.
    this.#owed.delete(path);
    this.#owed.set(path, limits);
    this.#limited.delete(path);
    this.#asked.delete(path);
    for (const [each, owed] of [...this.#owed].toReversed()) {
      // It may have gone meanwhile.
      if (this.#owed.get(each) !== owed) continue;
      const { unit } = this.#of(each);
      try {
        await this.#ask(async () => slices.limit(unit, owed));
        this.#took(each, owed);
      } catch (thrown) {
        const why = errorText(thrown);
        const text = `${unit} stands, but not with its limits, which are given again later: ${why}`;
        if (why === this.#whyOwed) log.debug({}, text);
        else log.warn({}, text);
        this.#whyOwed = why;
        if (!(thrown instanceof BusRefusal)) return;
      }
    }
    if (this.#owed.size === 0) this.#whyOwed = undefined;
  }

  #took(path: string, limits: CgroupLimits | undefined): void {
    this.#owed.delete(path);
    this.#asked.delete(path);
    this.#limited.set(path, limitsText(limits, false));
  }

  /** Where it does not answer, it is not asked again for as long as that took: not each pod waits for one that says nothing. */
  async #ask(work: () => Promise<void>): Promise<void> {
    const { clock } = this.#options;
    const beganMs = clock.monotonic();
    if (beganMs < this.#restUntilMs) throw this.#silence;
    try {
      await work();
    } catch (thrown) {
      if (!(thrown instanceof BusRefusal)) {
        this.#restUntilMs = 2 * clock.monotonic() - beganMs;
        this.#silence = thrown;
      }
      throw thrown;
    }
  }

  #of(path: string): { readonly place: string; readonly unit: string } {
    const place = systemdSlice(this.#options.root, path);
    return { place, unit: place.slice(place.lastIndexOf('/') + 1) };
  }

  /** systemd answers when it has taken note, and does it a moment later. Whether it has within its time. */
  async #becomes(place: string, isThere: boolean): Promise<boolean> {
    const { clock, tree } = this.#options;
    const endMs = clock.monotonic() + longestMs;
    while ((await tree.exists(place)) !== isThere) {
      if (clock.monotonic() > endMs) return false;
      await clock.sleep(lookEveryMs);
    }
    return true;
  }
}
