/** What the dynamic linker reads of a program or library. */
export interface Elf {
  /** `e_machine`: 62 x86-64, 183 AArch64. */
  readonly machine: number;
  /** The dynamic linker it asks for; libraries have none. */
  readonly interpreter: string | undefined;
  /** The libraries it names: `libc.so.6`. */
  readonly needed: readonly string[];
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

const load = 1;
const dynamic = 2;
const interp = 3;
const tagNeeded = 1n;
const tagStrings = 5n;

export function isElf(data: Buffer): boolean {
  return data.length > 64 && data.readUInt32BE(0) === 0x7f454c46;
}

/** Reads a 64-bit little-endian ELF file (gabi 4.1, chapters 4 and 5). */
export function readElf(data: Buffer): Elf {
  if (!isElf(data) || data[4] !== 2 || data[5] !== 1) throw new Error('not a 64-bit ELF file');
  const segments = readSegments(data);
  const found = segments.find((each) => each.type === interp);
  return {
    machine: data.readUInt16LE(18),
    interpreter: found === undefined ? undefined : stringAt(data, found.offset),
    needed: readNeeded(data, segments),
  };
}

/**
 * The file without what no segment loads: symbols and debugging sections, and the table of sections with them. What runs is the
 * same, byte for byte; only debuggers miss something.
 */
export function strip(data: Buffer): Buffer {
  const ends = readSegments(data).map(({ offset, size }) => offset + size);
  const stripped = Buffer.from(data.subarray(0, Math.max(64, ...ends)));
  stripped.writeBigUInt64LE(0n, 40); // e_shoff
  stripped.writeUInt32LE(0, 60); // e_shnum, e_shstrndx
  return stripped;
}

function readSegments(data: Buffer): readonly Segment[] {
  const start = Number(data.readBigUInt64LE(32));
  const [size, count] = [data.readUInt16LE(54), data.readUInt16LE(56)];
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    return {
      type: data.readUInt32LE(at),
      offset: Number(data.readBigUInt64LE(at + 8)),
      address: Number(data.readBigUInt64LE(at + 16)),
      size: Number(data.readBigUInt64LE(at + 32)),
    };
  });
}

function readNeeded(data: Buffer, segments: readonly Segment[]): readonly string[] {
  const section = segments.find((each) => each.type === dynamic);
  if (section === undefined) return [];
  const names: number[] = [];
  let strings = 0;
  for (let at = section.offset; at < section.offset + section.size; at += 16) {
    const [tag, value] = [data.readBigInt64LE(at), Number(data.readBigUInt64LE(at + 8))];
    if (tag === 0n) break;
    if (tag === tagNeeded) names.push(value);
    if (tag === tagStrings) strings = offsetOf(value, segments);
  }
  return names.map((name) => stringAt(data, strings + name));
}

/** Where in the file an address of the running program comes from. */
function offsetOf(address: number, segments: readonly Segment[]): number {
  const holder = segments.find(
    (each) => each.type === load && address >= each.address && address < each.address + each.size,
  );
  if (holder === undefined) throw new Error('a broken ELF file: its strings are in no segment');
  return holder.offset + address - holder.address;
}

function stringAt(data: Buffer, offset: number): string {
  return data.toString('latin1', offset, data.indexOf(0, offset));
}
