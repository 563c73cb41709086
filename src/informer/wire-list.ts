import { Buffer } from 'node:buffer';
import { SwitchyardError } from '../error.ts';
import { WireReader } from './wire-message.ts';
import type { WireMessage } from './wire-message.ts';

/** The media type of the Kubernetes API in Protocol Buffers. */
export const wireMediaType = 'application/vnd.kubernetes.protobuf';

/** Every object starts so, then an envelope with its type and the object itself follow. */
const MAGIC = Buffer.from('k8s\0', 'latin1');
const ENVELOPE_OBJECT = 2;
const LIST_ITEM = 2;
const BYTES = 2;
/** Far more than one object of the Kubernetes API has. */
const LONGEST_FIELD_BYTES = 16 * 1024 * 1024;

const LIST_META: WireMessage = [
  undefined,
  undefined,
  { name: 'resourceVersion', type: 'text' },
  { name: 'continue', type: 'text' },
];
const LIST: WireMessage = [undefined, { name: 'metadata', type: LIST_META }];
const STATUS: WireMessage = [undefined, undefined, undefined, { name: 'message', type: 'text' }];

/** The message of a Status that the server answered instead of what was asked for. */
export function wireStatusMessage(body: Buffer): string {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) return '';
  const envelope = new WireReader(body, MAGIC.length);
  while (!envelope.done) {
    const { number, wire } = envelope.tag();
    if (number === ENVELOPE_OBJECT && wire === BYTES) {
      const end = envelope.bytesEnd();
      const { message } = new WireReader(body, envelope.at, end).message(STATUS);
      return typeof message === 'string' ? message : '';
    }
    envelope.skip(wire);
  }
  return '';
}

/**
 * Cuts the objects out of a list as its bytes come, as ListSplitter does with JSON: no more than one of
 * them is held at a time. Upstream's lists have their own fields before the items.
 */
export class WireListSplitter {
  readonly #schema: WireMessage;
  readonly #onItem: (item: unknown) => void;
  #chunks: Buffer[] = [];
  #held = 0;
  /** As many bytes have to be there before it can go on. */
  #needed = MAGIC.length;
  /** How far it has read, and where in that count the list ends; undefined: it has not begun. */
  #read = 0;
  #listEnd: number | undefined;
  #metadata: unknown;

  /** `schema` is that of one item. */
  constructor(schema: WireMessage, onItem: (item: unknown) => void) {
    this.#schema = schema;
    this.#onItem = onItem;
  }

  /** Throws where the bytes are no list of the API. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held < this.#needed) return;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    let at = 0;
    if (this.#read === 0) this.#read = at = magicEnd(bytes);
    for (let end = this.#fieldEnd(bytes, at); end !== undefined; end = this.#fieldEnd(bytes, at)) {
      this.#read += end - at;
      at = end;
    }
    const rest = bytes.subarray(at);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#held = rest.length;
  }

  /** The list without its items. Throws where it did not come to its end. */
  end(): unknown {
    if (this.#listEnd === undefined || this.#read < this.#listEnd || this.#held > 0) {
      throw new SwitchyardError('source', 'the list breaks off', { retryable: true });
    }
    return { metadata: this.#metadata ?? {}, items: [] };
  }

  /** Reads the field that starts here and answers where it ends; undefined where it is not yet whole. */
  #fieldEnd(bytes: Buffer, start: number): number | undefined {
    const head = headOf(bytes, start);
    if (head === undefined) {
      this.#needed = bytes.length - start + 1;
      return undefined;
    }
    const end = this.#read + (head.end - start);
    if (this.#listEnd === undefined && head.number === ENVELOPE_OBJECT) {
      this.#listEnd = end;
      return head.content; // and on with the fields of the list
    }
    const isInList = this.#listEnd !== undefined && this.#read < this.#listEnd;
    if (head.end - start > LONGEST_FIELD_BYTES || (isInList && end > (this.#listEnd ?? 0))) {
      throw new SwitchyardError(
        'source',
        'the answer is no list of objects: a part of it has no end',
      );
    }
    if (head.end > bytes.length) {
      this.#needed = head.end - start;
      return undefined;
    }
    if (isInList) this.#listField(bytes, start, head);
    return head.end;
  }

  #listField(bytes: Buffer, start: number, { number, content, end }: FieldHead): void {
    if (number === LIST_ITEM) {
      this.#onItem(new WireReader(bytes, content, end).message(this.#schema));
    } else {
      const { metadata } = new WireReader(bytes, start, end).message(LIST);
      this.#metadata ??= metadata;
    }
  }
}

function magicEnd(bytes: Buffer): number {
  if (bytes.subarray(0, MAGIC.length).equals(MAGIC)) return MAGIC.length;
  throw new SwitchyardError('source', 'the answer is no object of the Kubernetes API');
}

interface FieldHead {
  readonly number: number;
  /** Where its content starts, where it ends. */
  readonly content: number;
  readonly end: number;
}

/** The head of a field of bytes: the envelope and lists have few others, and none that is read. */
function headOf(bytes: Buffer, start: number): FieldHead | undefined {
  // a tag and a length take no more
  const window = Math.min(bytes.length, start + 20);
  const reader = new WireReader(bytes, start, window);
  try {
    const { number, wire } = reader.tag();
    if (wire !== BYTES) {
      reader.skip(wire);
      return { number, content: reader.at, end: reader.at };
    }
    const length = reader.varint();
    return { number, content: reader.at, end: reader.at + length };
  } catch (error) {
    if (window === start + 20) throw error;
    return undefined;
  }
}
