/** Lets one action run at a time, in the order in which they were asked for; one that fails does not stop the next. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `action` when all before it have ended; settles as it does. */
  async take<T>(action: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const run = (async () => {
      await before;
      return action();
    })();
    this.#last = run.catch(() => undefined);
    return run;
  }
}
