import { pino } from 'pino';
import type { DestinationStream } from 'pino';
import type { Log } from './log.ts';

/** How the process logs. */
export interface LoggerOptions {
  /** `auto`: text where `terminal` is true, else JSON. */
  readonly format: 'auto' | 'json' | 'text';
  /** As `-v`: 2 and above logs debug lines. */
  readonly verbosity: number;
  /** Whether standard error is a terminal. */
  readonly terminal: boolean;
  /** Where lines go; default: standard error, each written before the call returns. */
  readonly destination?: DestinationStream;
}

/** Fields that may carry credentials; they are replaced wherever they appear on a line's first two levels. */
const secrets = ['authorization', 'token', 'password', 'clientKey', 'cookie', 'headers'];

/**
 * The process's log: one JSON object a line (`level` and `time` in words, errors with cause), or
 * coloured text. Lines are written synchronously, so a crash loses none.
 */
export async function createLogger(options: LoggerOptions): Promise<Log> {
  const text = options.format === 'text' || (options.format === 'auto' && options.terminal);
  const level = options.verbosity >= 2 ? 'debug' : 'info';
  const sink = options.destination ?? pino.destination({ dest: 2, sync: true });
  const settings = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: pino.stdSerializers.errWithCause, error: pino.stdSerializers.errWithCause },
    redact: { paths: secrets.flatMap((name) => [name, `*.${name}`]), censor: '[hidden]' },
  };
  if (!text) return plain(pino(settings, sink));
  const { default: pretty } = await import('pino-pretty'); // no agent in a container needs it
  const stream = pretty({
    sync: true,
    colorize: options.terminal,
    translateTime: 'HH:MM:ss.l',
    singleLine: true,
    destination: options.destination ? writableOf(options.destination) : 2,
  });
  return plain(pino(settings, stream));
}

/** A pino logger may have any method, `then` too, as far as its type says: no promise may hold one. */
function plain(log: Log): Log {
  return log;
}

/** pino-pretty wants a file descriptor or a stream; tests bring an object that only writes. */
function writableOf(destination: DestinationStream): NodeJS.WritableStream {
  return destination as unknown as NodeJS.WritableStream;
}
