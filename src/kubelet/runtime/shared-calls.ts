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
      if (call.waiting === 0) call.ending.abort();
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Call<T> {
    const ending = new AbortController();
    const result = work(ending.signal).finally(() => this.#calls.delete(key));
    // whoever waits hears of it
    result.catch(() => {});
    const call = { result, ending, waiting: 0 };
    this.#calls.set(key, call);
    return call;
  }
}
