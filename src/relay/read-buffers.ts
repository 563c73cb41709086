import { Buffer } from 'node:buffer';

/** Every quiet wire reads into this one. */
const commonBytes = 64 * 1024;
/** What has to be kept of it is copied to a slab. */
const slabBytes = 256 * 1024;
/** A wire that fills the common buffer reads into one of its own: large, and nothing is copied. */
const ownBytes = 256 * 1024;
/** Wires with a buffer of their own at a time; all others go on with the common one. */
const mostOwn = 256;
/** Buffers that nobody uses are kept for the next. */
const mostSpare = 16;

/**
 * Where one thread's wires read to. Ten thousand idle connections share one buffer; a wire with much traffic has its own, as
 * long as that lasts.
 */
export class ReadBuffers {
  readonly common: Uint8Array = Buffer.allocUnsafeSlow(commonBytes);
  readonly #spare: Uint8Array[] = [];
  #slab: Uint8Array = Buffer.allocUnsafeSlow(slabBytes);
  #used = 0;
  #own = 0;

  /** A copy of what the common buffer holds. It is good until the next call, or for ever if `keep` is called before. */
  copy(length: number): Uint8Array {
    if (this.#used + length > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(slabBytes);
      this.#used = 0;
    }
    const copy = this.#slab.subarray(this.#used, this.#used + length);
    copy.set(length === this.common.length ? this.common : this.common.subarray(0, length));
    return copy;
  }

  /** The last copy stays as it is. */
  keep(length: number): void {
    this.#used += length;
  }

  /** A buffer for one wire alone; undefined: there are too many. */
  lend(): Uint8Array | undefined {
    if (this.#own >= mostOwn) return undefined;
    this.#own++;
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(ownBytes);
  }

  takeBack(buffer: Uint8Array): void {
    this.#own--;
    if (this.#spare.length < mostSpare) this.#spare.push(buffer);
  }
}
