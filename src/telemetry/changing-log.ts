import type { Logger } from './logger.ts';

/** A log whose lines go on where somebody sets another one in its place: verbosity and form may change while the process runs. */
export class ChangingLog implements Logger {
  #log: Logger;
  readonly verbosity: Logger['verbosity'] = {
    get: () => this.#log.verbosity.get(),
    set: (verbosity) => {
      this.#log.verbosity.set(verbosity);
    },
  };

  constructor(log: Logger) {
    this.#log = log;
  }

  use(log: Logger): void {
    this.#log = log;
  }

  debug(fields: object, message: string): void {
    this.#log.debug(fields, message);
  }

  info(fields: object, message: string): void {
    this.#log.info(fields, message);
  }

  warn(fields: object, message: string): void {
    this.#log.warn(fields, message);
  }

  error(fields: object, message: string): void {
    this.#log.error(fields, message);
  }
}
