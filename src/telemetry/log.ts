/**
 * The log as the rest of the program sees it: pino's call shape, fields first.
 * `pino()` satisfies it; tests use {@link silentLog}.
 */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
