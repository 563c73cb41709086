import { SwitchyardError } from '../error.ts';

/**
 * What a field of a message becomes. Names and zeros are as in the JSON of the API: a field that is no pointer is
 * left out where it is empty, `pointer` ones are kept with whatever value they have.
 */
export interface WireField {
  /** Its name in JSON. */
  readonly name: string;
  /** `time` is a text (RFC 3339) afterwards, `labels` a map of texts. */
  readonly type: 'text' | 'integer' | 'flag' | 'time' | 'labels' | WireMessage;
  readonly repeated?: boolean;
  readonly pointer?: boolean;
}

/** The fields of a message that are read, by their numbers; all others are skipped. */
export type WireMessage = readonly (WireField | undefined)[];

/** A message as the value that its JSON would have given, but for what its schema leaves out. */
type Value = Record<string, unknown>;

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Texts up to this length are looked up among those met before: most of them are the same few. */
const LONGEST_SHARED = 40;
const sharedTexts: (string | undefined)[] = Array.from({ length: 4096 });

/**
 * A reader of Protocol Buffers (protobuf.dev, "Encoding"), as far as the Kubernetes API uses them. Reads beyond
 * `end` throw: what a peer sends may break off or be nonsense.
 */
export class WireReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get at(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** Field number and wire type. */
  tag(): { readonly number: number; readonly wire: number } {
    const tag = this.varint();
    return { number: Math.floor(tag / 8), wire: tag % 8 };
  }

  /** An integer; beyond 53 bits it is rounded. */
  varint(): number {
    const start = this.#at;
    const first = this.#bytes[start] ?? 0;
    if (first < 0x80 && start < this.#end) {
      this.#at++;
      return first;
    }
    let value = 0;
    let scale = 1;
    while (this.#at < this.#end) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return this.#at - start < 8 ? value : this.#longVarint(start);
      if (this.#at - start === 10) break;
      scale *= 128;
    }
    throw brokenOff();
  }

  /** Negative ones have ten bytes, all of which count. */
  #longVarint(start: number): number {
    let value = 0n;
    for (let at = this.#at - 1; at >= start; at--) {
      value = value * 128n + BigInt((this.#bytes[at] ?? 0) & 0x7f);
    }
    return Number(BigInt.asIntN(64, value));
  }

  /** The end of a field of bytes, whose content starts at {@link at}. */
  bytesEnd(): number {
    const length = this.varint();
    const end = this.#at + length;
    if (length < 0 || end > this.#end) throw brokenOff();
    return end;
  }

  /** Passes a field by. */
  skip(wire: number): void {
    if (wire === VARINT) this.varint();
    else if (wire === BYTES) this.#at = this.bytesEnd();
    else if (wire === FIXED64 || wire === FIXED32) this.#at += wire === FIXED64 ? 8 : 4;
    else throw new SwitchyardError('source', `the answer has a field of the unknown type ${wire}`);
    if (this.#at > this.#end) throw brokenOff();
  }

  /** All that is left, read by a schema. */
  message(schema: WireMessage): Value {
    const value: Value = {};
    while (!this.done) {
      const tag = this.varint();
      const field = schema[Math.floor(tag / 8)];
      if (field === undefined || tag % 8 !== wireType(field)) this.skip(tag % 8);
      else this.#field(field, value);
    }
    return value;
  }

  #field(field: WireField, value: Value): void {
    const { name, type } = field;
    if (type === 'labels') {
      this.#label((value[name] ??= Object.create(null)) as Record<string, string>);
      return;
    }
    const read = this.#value(type);
    if (field.repeated === true) ((value[name] ??= []) as unknown[]).push(read);
    else if (field.pointer === true || (read !== '' && read !== 0 && read !== false)) {
      value[name] = read;
    }
  }

  #value(type: Exclude<WireField['type'], 'labels'>): unknown {
    if (type === 'integer') return this.varint();
    if (type === 'flag') return this.varint() !== 0;
    const end = this.bytesEnd();
    const start = this.#at;
    this.#at = end;
    if (type === 'text') return textOf(this.#bytes, start, end);
    const inner = new WireReader(this.#bytes, start, end);
    return type === 'time' ? timeText(inner) : inner.message(type);
  }

  #label(labels: Record<string, string>): void {
    const end = this.bytesEnd();
    const { key = '', value = '' } = new WireReader(this.#bytes, this.#at, end).message(LABEL);
    labels[String(key)] = String(value);
    this.#at = end;
  }
}

const LABEL: WireMessage = [
  undefined,
  { name: 'key', type: 'text' },
  { name: 'value', type: 'text' },
];
const TIME: WireMessage = [undefined, { name: 'seconds', type: 'integer', pointer: true }];

function wireType({ type }: WireField): number {
  return type === 'integer' || type === 'flag' ? VARINT : BYTES;
}

/** A time that is not set is an empty message, and in JSON null. */
function timeText(reader: WireReader): string | null {
  const { seconds } = reader.message(TIME);
  if (typeof seconds !== 'number') return null;
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? null : date.toISOString().replace('.000Z', 'Z');
}

/** The text between two places; equal short ones are one string, which costs neither time nor memory again. */
function textOf(bytes: Buffer, start: number, end: number): string {
  if (end - start > LONGEST_SHARED) return bytes.toString('utf8', start, end);
  let hash = end - start;
  let all = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    hash = (Math.imul(hash, 31) + byte) | 0;
    all |= byte;
  }
  if (all >= 0x80) return bytes.toString('utf8', start, end);
  const slot = hash & (sharedTexts.length - 1);
  const known = sharedTexts[slot];
  if (known !== undefined && isText(known, bytes, start, end)) return known;
  const text = bytes.toString('latin1', start, end);
  sharedTexts[slot] = text;
  return text;
}

function isText(text: string, bytes: Buffer, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let at = start; at < end; at++) if (text.charCodeAt(at - start) !== bytes[at]) return false;
  return true;
}

function brokenOff(): SwitchyardError {
  return new SwitchyardError('source', 'the answer breaks off in the middle of a message', {
    retryable: true,
  });
}
