import { Buffer } from 'node:buffer';

import { SwitchyardError } from '../error.ts';

const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** By byte: how much deeper it leads, or {@link STRING}; 0 where it means nothing. */
const MARKS = new Int8Array(256);
const STRING = 2;
MARKS[QUOTE] = STRING;
MARKS[OPEN_LIST] = MARKS[OPEN_OBJECT] = 1;
MARKS[CLOSE_LIST] = MARKS[CLOSE_OBJECT] = -1;

/** How deep the braces are between the objects of a list, and inside one. */
const BETWEEN_ITEMS = 2;
const INSIDE_ITEM = 3;

/** Far more than an object, or all that is not an object, has in the list of a Kubernetes API. */
const LONGEST_ITEM_BYTES = 16 * 1024 * 1024;
const LONGEST_AROUND_BYTES = 1024 * 1024;

/**
 * Cuts the objects out of a list's JSON as its bytes come, so that no more than one of them is held as
 * text: a server that ignores `limit` answers with hundreds of megabytes. It counts braces outside of
 * strings and leaves the rest to JSON.parse.
 */
export class ListSplitter {
  readonly #onItem: (item: unknown) => void;
  #depth = 0;
  #inItems = false;
  #inString = false;
  #escaped = false;
  /** Where in the current chunk the item or the text around the items goes on; undefined: nowhere. */
  #from: number | undefined = 0;
  #item: Buffer[] = [];
  #itemBytes = 0;
  /** All but the items, a character a byte. */
  #around = '';

  constructor(onItem: (item: unknown) => void) {
    this.#onItem = onItem;
  }

  /** Throws where `items` holds what is no object, an object is no JSON, or a part has no end. */
  push(chunk: Buffer): void {
    if (this.#from !== undefined) this.#from = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#inItems) {
        const between = this.#depth === BETWEEN_ITEMS;
        at = between ? itemStart(chunk, at) : this.#itemEnd(chunk, at);
      } else at = this.#nextBrace(chunk, at);
      if (at >= chunk.length) break;
      if (MARKS[chunk[at] ?? 0] === 1) this.#open(chunk, at);
      else this.#close(chunk, at);
      at++;
    }
    this.#keep(chunk, chunk.length);
  }

  /** The list without its items. Throws where it did not come to its end. */
  end(): unknown {
    return JSON.parse(Buffer.from(this.#around, 'latin1').toString('utf8'));
  }

  /** Where the next brace or bracket is, or the end of the chunk. */
  #nextBrace(chunk: Buffer, start: number): number {
    let at = this.#inString ? this.#stringEnd(chunk, start) + 1 : start;
    for (; at < chunk.length; at++) {
      const mark = MARKS[chunk[at] ?? 0];
      if (mark === STRING) at = this.#stringEnd(chunk, at + 1);
      else if (mark !== 0) return at;
    }
    return chunk.length;
  }

  /** Where the string is closed, or the end of the chunk. */
  #stringEnd(chunk: Buffer, start: number): number {
    let at = this.#escaped ? start + 1 : start;
    this.#escaped = false;
    this.#inString = false;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === QUOTE) return at;
      if (byte === BACKSLASH) at++;
    }
    this.#inString = true;
    this.#escaped = at > chunk.length;
    return chunk.length;
  }

  /** Where the brace is that closes the item, or the end of the chunk: the path of nearly all bytes. */
  #itemEnd(chunk: Buffer, start: number): number {
    let depth = this.#depth;
    let at = start;
    if (this.#inString) at = this.#stringEnd(chunk, at) + 1;
    for (; at < chunk.length; at++) {
      const mark = MARKS[chunk[at] ?? 0] ?? 0;
      if (mark === 0) continue;
      if (mark === STRING) {
        at = this.#stringEnd(chunk, at + 1);
      } else {
        depth += mark;
        if (depth === BETWEEN_ITEMS) break;
      }
    }
    this.#depth = at < chunk.length ? INSIDE_ITEM : depth;
    return Math.min(at, chunk.length);
  }

  #open(chunk: Buffer, at: number): void {
    this.#depth++;
    if (this.#inItems && this.#depth === INSIDE_ITEM) {
      this.#from = at;
    } else if (this.#depth === BETWEEN_ITEMS && chunk[at] === OPEN_LIST) {
      this.#keep(chunk, at + 1);
      this.#from = at + 1;
      if (!/(?<!\\)"items"\s*:\s*\[$/.test(this.#around.slice(-100))) return;
      this.#inItems = true;
      this.#from = undefined;
    }
  }

  #close(chunk: Buffer, at: number): void {
    this.#depth--;
    if (!this.#inItems) return;
    if (this.#depth === BETWEEN_ITEMS) {
      this.#keep(chunk, at + 1);
      this.#from = undefined;
      const text = Buffer.concat(this.#item).toString('utf8');
      this.#item = [];
      this.#itemBytes = 0;
      this.#onItem(JSON.parse(text));
    } else if (this.#depth < BETWEEN_ITEMS) {
      this.#inItems = false;
      this.#from = at;
    }
  }

  #keep(chunk: Buffer, end: number): void {
    if (this.#from === undefined) return;
    if (this.#inItems) {
      this.#item.push(chunk.subarray(this.#from, end));
      this.#itemBytes += end - this.#from;
    } else this.#around += chunk.toString('latin1', this.#from, end);
    if (this.#itemBytes <= LONGEST_ITEM_BYTES && this.#around.length <= LONGEST_AROUND_BYTES)
      return;
    throw new SwitchyardError(
      'source',
      'the answer is no list of objects: a part of it has no end',
    );
  }
}

/** Where the next item begins or the list ends; between items there are commas alone. */
function itemStart(chunk: Buffer, start: number): number {
  for (let at = start; at < chunk.length; at++) {
    const byte = chunk[at] ?? 0;
    if (byte === OPEN_OBJECT || byte === CLOSE_LIST) return at;
    if (byte !== COMMA && byte > SPACE) {
      throw new SwitchyardError('source', 'the answer is a list of what is no object');
    }
  }
  return chunk.length;
}
