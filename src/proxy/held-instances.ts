import { aborted } from '../informer/wakeup.ts';
import { becomeOnly, nameOther } from './only-instance.ts';
import type { OnlyInstance, OnlyInstanceOptions } from './only-instance.ts';

interface Held {
  readonly instance: OnlyInstance;
  holders: number;
}

/**
 * What makes this process the only one at something: agents that follow each other in it share that, and the last one lets go.
 */
export class HeldInstances {
  readonly #held = new Map<string, Held>();
  /** What an agent of this process asks for now; resolves when it has an answer. */
  readonly #asked = new Map<string, Promise<void>>();

  /** As {@link becomeOnly}, which is asked where this process is not the one already, and once at a time: else one agent of it would wait for the other. */
  async becomeOnly(...args: Parameters<typeof becomeOnly>): Promise<OnlyInstance> {
    const [name, folders, , signal] = args;
    const key = [name, ...folders].join('\0');
    for (;;) {
      const shared = this.#share(key);
      if (shared !== undefined) return shared;
      const asked = this.#asked.get(key);
      if (asked === undefined) return this.#ask(key, args);
      await Promise.race([asked, aborted(signal)]);
      signal.throwIfAborted();
    }
  }

  async #ask(key: string, args: Parameters<typeof becomeOnly>): Promise<OnlyInstance> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#asked.set(key, promise);
    try {
      return this.#hold(key, await becomeOnly(...args));
    } finally {
      this.#asked.delete(key);
      resolve();
    }
  }

  /** As {@link nameOther}, likewise. */
  async nameOther(
    name: string,
    options: OnlyInstanceOptions,
  ): Promise<{ readonly other: string | undefined; readonly instance: OnlyInstance | undefined }> {
    const shared = this.#share(name);
    if (shared !== undefined) return { other: undefined, instance: shared };
    const { instance, other } = await nameOther(name, options);
    if (instance === undefined) return { other, instance };
    const release = async (): Promise<void> => instance.release();
    return { other, instance: this.#hold(name, { release }) };
  }

  #share(key: string): OnlyInstance | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    held.holders++;
    return this.#holder(key, held);
  }

  #hold(key: string, instance: OnlyInstance): OnlyInstance {
    const held = { instance, holders: 1 };
    this.#held.set(key, held);
    return this.#holder(key, held);
  }

  #holder(key: string, held: Held): OnlyInstance {
    let isHolding = true;
    return {
      release: async () => {
        if (!isHolding) return;
        isHolding = false;
        if (--held.holders > 0) return;
        this.#held.delete(key);
        await held.instance.release();
      },
    };
  }
}
