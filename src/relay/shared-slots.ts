const slotsPerBlock = 1024;

/** Memory that all workers see, in slots of one size. One thread hands slots out, everybody looks into them by number. */
export class SharedSlots {
  readonly #bytes: number;
  readonly #blocks: SharedArrayBuffer[] = [];
  readonly #free: number[] = [];
  #used = 0;

  /** `bytes`: of a slot, a multiple of 8. */
  constructor(bytes: number, blocks: readonly SharedArrayBuffer[] = []) {
    this.#bytes = bytes;
    this.#blocks.push(...blocks);
  }

  get blocks(): readonly SharedArrayBuffer[] {
    return this.#blocks;
  }

  /** A block that another thread has made. */
  add(blocks: readonly SharedArrayBuffer[]): void {
    this.#blocks.push(...blocks);
  }

  /** The number of a slot that nobody has, all zero. */
  take(): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.#blocks.length * slotsPerBlock) {
      this.#blocks.push(new SharedArrayBuffer(slotsPerBlock * this.#bytes));
    }
    new Uint8Array(...this.#range(slot)).fill(0);
    return slot;
  }

  /** Nobody looks into it any more. */
  giveBack(slot: number): void {
    this.#free.push(slot);
  }

  floats(slot: number): Float64Array {
    const [block, offset, bytes] = this.#range(slot);
    return new Float64Array(block, offset, bytes / 8);
  }

  integers(slot: number): Int32Array {
    const [block, offset, bytes] = this.#range(slot);
    return new Int32Array(block, offset, bytes / 4);
  }

  #range(slot: number): [SharedArrayBuffer, number, number] {
    const block = this.#blocks[Math.floor(slot / slotsPerBlock)];
    if (block === undefined) throw new RangeError(`no shared memory for slot ${slot}`);
    return [block, (slot % slotsPerBlock) * this.#bytes, this.#bytes];
  }
}
