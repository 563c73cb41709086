import { Buffer } from 'node:buffer';
import type { WireField, WireMessage } from '../../src/informer/wire-message.ts';

type Value = Readonly<Record<string, unknown>>;

/** A list of the API in Protocol Buffers, as a server sends it. */
export function encodeList(
  schema: WireMessage,
  items: readonly Value[],
  metadata: { readonly resourceVersion: string; readonly continue?: string },
): Buffer {
  const meta = Buffer.concat([
    bytes(1, Buffer.alloc(0)),
    bytes(2, Buffer.from(metadata.resourceVersion)),
    bytes(3, Buffer.from(metadata.continue ?? '')),
  ]);
  const fields = items.map((item) => bytes(2, encodeMessage(schema, item)));
  return envelope('List', Buffer.concat([bytes(1, meta), ...fields]));
}

/** A Status with a message. */
export function encodeStatus(message: string): Buffer {
  return envelope('Status', bytes(3, Buffer.from(message)));
}

export function encodeMessage(schema: WireMessage, value: Value): Buffer {
  const parts = schema.flatMap((field, number) => {
    const own = field === undefined ? undefined : value[field.name];
    if (field === undefined || own === undefined || own === null) return [];
    if (field.type === 'labels') {
      return Object.entries(own as Record<string, string>).map(([key, text]) =>
        bytes(number, Buffer.concat([bytes(1, Buffer.from(key)), bytes(2, Buffer.from(text))])),
      );
    }
    const each = field.repeated === true ? (own as readonly unknown[]) : [own];
    return each.map((one) => encodeField(number, field, one));
  });
  return Buffer.concat(parts);
}

/** Any field of bytes. */
export function bytes(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

export function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest /= 128n) out.push(Number(rest % 128n) + 128);
  return Buffer.from([...out, Number(rest)]);
}

function encodeField(number: number, { type }: WireField, value: unknown): Buffer {
  if (type === 'integer' || type === 'flag') {
    return Buffer.concat([varint(number * 8), varint(Number(value))]);
  }
  if (type === 'text') return bytes(number, Buffer.from(value as string));
  if (type === 'time') {
    const seconds = Math.floor(Date.parse(value as string) / 1000);
    return bytes(number, Buffer.concat([varint(8), varint(seconds)]));
  }
  return bytes(number, encodeMessage(type as WireMessage, value as Value));
}

function envelope(kind: string, object: Buffer): Buffer {
  const type = Buffer.concat([bytes(1, Buffer.from('v1')), bytes(2, Buffer.from(kind))]);
  const empty = Buffer.alloc(0);
  return Buffer.concat([
    Buffer.from('k8s\0', 'latin1'),
    bytes(1, type),
    bytes(2, object),
    bytes(3, empty),
    bytes(4, empty),
  ]);
}
