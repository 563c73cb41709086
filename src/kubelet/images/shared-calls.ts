import { aborted } from '../../informer/wakeup.ts';

interface Call<T> {
  readonly result: Promise<T>;
  readonly ending: AbortController;
  waiting: number;
}

/** Calls of which one is under way for a key at a time: whoever comes meanwhile shares it. It is ended when nobody waits for it any more. */
export class SharedCalls<T> {
  readonly #calls = new Map<string, Call<T>>();

  /** Rejects as the call does, or with the reason of `signal`. */
  async call(
    key: string,
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    const call = this.#calls.get(key) ?? this.#begin(key, work);
    call.waiting += 1;
    const leaving = new AbortController();
    const left = aborted(AbortSignal.any([signal, leaving.signal]));
    try {
      const result = await Promise.race([call.result, left]);
      signal.throwIfAborted();
      return result as T;
    } finally {
      leaving.abort();
      call.waiting -= 1;
      if (call.waiting === 0) {
        // who comes before it has ended is not to hear of that
        this.#forget(key, call);
        call.ending.abort();
      }
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Call<T> {
    const ending = new AbortController();
    const result = work(ending.signal).finally(() => this.#forget(key, call));
    // whoever waits hears of it
    result.catch(() => {});
    const call: Call<T> = { result, ending, waiting: 0 };
    this.#calls.set(key, call);
    return call;
  }

  /** Another one may be under way for the key by now. */
  #forget(key: string, call: Call<T>): void {
    if (this.#calls.get(key) === call) this.#calls.delete(key);
  }
}
