import { pino } from 'pino';
import type { DestinationStream, Logger as PinoLogger } from 'pino';
import type { Log } from './log.ts';
import type { Verbosity } from './profiling.ts';

/** How the process logs. */
export interface LoggerOptions {
  /** `auto`: text where `terminal` is true, else JSON. */
  readonly format: 'auto' | 'json' | 'text';
  /** As `-v`: 2 and above logs debug lines. */
  readonly verbosity: number;
  /** Whether standard error is a terminal. */
  readonly terminal: boolean;
  /** On each line; none unless given. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Where lines go; default: standard error, each written before the call returns. */
  readonly destination?: DestinationStream;
}

/** Fields that may carry credentials; they are replaced wherever they appear on a line's first two levels. */
const secrets = ['authorization', 'token', 'password', 'clientKey', 'cookie', 'headers'];

/** A log whose verbosity may be changed while it is written. */
export interface Logger extends Log {
  readonly verbosity: Verbosity;
}

/**
 * The process's log: one JSON object a line (`level` and `time` in words, errors with cause), or
 * coloured text. Lines are written synchronously, so a crash loses none.
 */
export async function createLogger(options: LoggerOptions): Promise<Logger> {
  const text = options.format === 'text' || (options.format === 'auto' && options.terminal);
  const level = levelOf(options.verbosity);
  const sink = options.destination ?? pino.destination({ dest: 2, sync: true });
  const settings = {
    level,
    base: options.fields ?? null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: pino.stdSerializers.errWithCause, error: pino.stdSerializers.errWithCause },
    redact: { paths: secrets.flatMap((name) => [name, `*.${name}`]), censor: '[hidden]' },
  };
  if (!text) return plain(pino(settings, sink), options.verbosity);
  const { default: pretty } = await import('pino-pretty'); // no agent in a container needs it
  const stream = pretty({
    sync: true,
    colorize: options.terminal,
    translateTime: 'HH:MM:ss.l',
    singleLine: true,
    destination: options.destination ? writableOf(options.destination) : 2,
  });
  return plain(pino(settings, stream), options.verbosity);
}

function levelOf(verbosity: number): 'debug' | 'info' {
  return verbosity >= 2 ? 'debug' : 'info';
}

/** A pino logger may have any method, `then` too, as far as its type says: no promise may hold one. */
function plain(log: PinoLogger, verbosity: number): Logger {
  let now = verbosity;
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    verbosity: {
      get: () => now,
      set: (wanted) => {
        now = wanted;
        log.level = levelOf(wanted);
      },
    },
  };
}

/** pino-pretty wants a file descriptor or a stream; tests bring an object that only writes. */
function writableOf(destination: DestinationStream): NodeJS.WritableStream {
  return destination as unknown as NodeJS.WritableStream;
}
