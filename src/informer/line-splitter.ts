import { Buffer } from 'node:buffer';

const NEWLINE = 0x0a;

/**
 * Cuts a byte stream into lines. It splits bytes, not text, so a chunk may end anywhere, in the middle
 * of a character too.
 */
export class LineSplitter {
  #rest: Uint8Array[] = [];
  #restBytes = 0;

  /** Bytes of the line that is not complete yet. */
  get pendingBytes(): number {
    return this.#restBytes;
  }

  /** The lines that `chunk` completes, without their newline; empty lines are left out. */
  push(chunk: Uint8Array): readonly string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#rest.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.#rest).toString('utf8').trim();
      if (line !== '') lines.push(line);
      this.#rest = [];
      this.#restBytes = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      this.#rest.push(chunk.subarray(start));
      this.#restBytes += chunk.length - start;
    }
    return lines;
  }
}
