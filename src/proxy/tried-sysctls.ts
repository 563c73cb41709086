import type { Sysctls } from '../host/sysctl.ts';

/** Settings of an agent that may never come to work: what it has changed goes back where it does not. */
export class TriedSysctls implements Sysctls {
  readonly #sysctls: Sysctls;
  /** What a key was at first, and what it was set to last; undefined: the changes stay. */
  #changed: Map<string, { readonly before: string; readonly set: string }> | undefined = new Map();

  constructor(sysctls: Sysctls) {
    this.#sysctls = sysctls;
  }

  async read(key: string): Promise<string | undefined> {
    return this.#sysctls.read(key);
  }

  async write(key: string, value: string): Promise<boolean> {
    const now = await this.#sysctls.read(key);
    const isWritten = await this.#sysctls.write(key, value);
    if (!isWritten || now === undefined) return isWritten;
    const before = this.#changed?.get(key)?.before ?? now;
    this.#changed?.set(key, { before, set: value });
    return isWritten;
  }

  /** The agent works: its settings stay, those that it makes from now on too. */
  keep(): void {
    this.#changed = undefined;
  }

  /** What was changed, and nobody has changed since, is as it was before. Rejects with the first setting that cannot be. */
  async putBack(): Promise<void> {
    const changed = [...(this.#changed ?? [])].toReversed();
    this.#changed?.clear();
    for (const [key, { before, set }] of changed) {
      if ((await this.#sysctls.read(key)) === set) await this.#sysctls.write(key, before);
    }
  }
}
