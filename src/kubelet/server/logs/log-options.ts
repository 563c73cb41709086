import { parseLogTime } from './log-line.ts';

/** What of a log is asked for. */
export interface LogOptions {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** undefined: from the beginning. */
  readonly tailLines: number | undefined;
  /** Nanoseconds since the epoch. */
  readonly since: bigint | undefined;
  readonly limitBytes: number | undefined;
  readonly stream: 'stdout' | 'stderr' | undefined;
}

export type ParsedLogOptions =
  | { readonly kind: 'options'; readonly options: LogOptions }
  | { readonly kind: 'refused'; readonly status: 400 | 422; readonly text: string };

const undecodable = {
  kind: 'refused',
  status: 400,
  text: '{"message": "Unable to decode query."}',
} as const;
const invalid = { kind: 'refused', status: 422, text: '{"message": "Invalid request."}' } as const;

/** The query of /containerLogs (`PodLogOptions` of the API). */
export function parseLogOptions(query: URLSearchParams, nowMs: number): ParsedLogOptions {
  const read = new QueryReader(query);
  const follow = read.flag('follow');
  const previous = read.flag('previous');
  const timestamps = read.flag('timestamps');
  const tailLines = read.tail();
  const sinceSeconds = read.integer('sinceSeconds');
  const limitBytes = read.integer('limitBytes');
  const sinceTime = read.time('sinceTime');
  const stream = streams[query.get('stream') ?? 'All'];
  if (read.isBroken) return undecodable;
  const refused = [
    tailLines !== undefined && tailLines < 0,
    sinceSeconds !== undefined && sinceSeconds < 1,
    limitBytes !== undefined && limitBytes < 1,
    sinceSeconds !== undefined && sinceTime !== undefined,
    stream === undefined,
  ];
  if (refused.some(Boolean) || stream === undefined) return invalid;
  const ago =
    sinceSeconds === undefined ? undefined : BigInt(Math.trunc(nowMs - sinceSeconds * 1000));
  const since = ago === undefined ? sinceTime : ago * 1_000_000n;
  const chosen = stream === 'all' ? undefined : stream;
  const options = { follow, previous, timestamps, tailLines, since, limitBytes, stream: chosen };
  return { kind: 'options', options };
}

const streams: Readonly<Record<string, 'all' | 'stdout' | 'stderr'>> = {
  All: 'all',
  Stdout: 'stdout',
  Stderr: 'stderr',
};

class QueryReader {
  readonly #query: URLSearchParams;
  isBroken = false;

  constructor(query: URLSearchParams) {
    this.#query = query;
  }

  flag(name: string): boolean {
    const text = this.#query.get(name);
    if (text === null || text === '') return false;
    if (/^(1|t|true)$/i.test(text)) return true;
    if (!/^(0|f|false)$/i.test(text)) this.isBroken = true;
    return false;
  }

  integer(name: string): number | undefined {
    const text = this.#query.get(name);
    if (text === null || text === '') return undefined;
    if (!/^-?\d{1,15}$/.test(text)) this.isBroken = true;
    return Number(text);
  }

  time(name: string): bigint | undefined {
    const text = this.#query.get(name);
    if (text === null || text === '') return undefined;
    const time = parseLogTime(text);
    if (time === undefined) this.isBroken = true;
    return time;
  }

  /** `tail=all` is how it was once said. */
  tail(): number | undefined {
    const old = this.#query.get('tail');
    if (old === null || old === 'all') return this.integer('tailLines');
    return this.integer('tail');
  }
}
