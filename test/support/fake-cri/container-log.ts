import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const longestPiece = 16_384;

/** A container's log file as CRI has it: `<RFC 3339 with nanoseconds> stdout F text`. */
export class ContainerLog {
  readonly #path: string;
  readonly #nowMs: () => number;
  readonly #rest = { 1: '', 2: '' };
  #file: number | undefined;

  /** `''`: the runtime keeps none. */
  constructor(path: string, nowMs: () => number) {
    this.#path = path;
    this.#nowMs = nowMs;
  }

  open(): void {
    if (this.#path === '') return;
    mkdirSync(dirname(this.#path), { recursive: true });
    this.#file = openSync(this.#path, 'a', 0o640);
  }

  reopen(): void {
    this.#shut();
    this.open();
  }

  write(stream: 1 | 2, text: string): void {
    const lines = (this.#rest[stream] + text).split('\n');
    this.#rest[stream] = lines.pop() ?? '';
    for (const line of lines) this.#line(stream, line);
  }

  close(): void {
    for (const stream of [1, 2] as const) {
      if (this.#rest[stream] !== '') this.#put(stream, 'P', this.#rest[stream]);
      this.#rest[stream] = '';
    }
    this.#shut();
  }

  #line(stream: 1 | 2, line: string): void {
    let rest = line.replace(/\r$/, '');
    while (rest.length > longestPiece) {
      this.#put(stream, 'P', rest.slice(0, longestPiece));
      rest = rest.slice(longestPiece);
    }
    this.#put(stream, 'F', rest);
  }

  #put(stream: 1 | 2, tag: 'F' | 'P', text: string): void {
    if (this.#file === undefined) return;
    const date = new Date(this.#nowMs()).toISOString().replace('Z', '000000Z');
    writeSync(this.#file, `${date} ${stream === 1 ? 'stdout' : 'stderr'} ${tag} ${text}\n`);
  }

  #shut(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
