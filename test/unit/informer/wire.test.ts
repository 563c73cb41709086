import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WireListSplitter, wireStatusMessage } from '../../../src/informer/wire-list.ts';
import { WireReader } from '../../../src/informer/wire-message.ts';
import type { WireField, WireMessage } from '../../../src/informer/wire-message.ts';
import {
  endpointSliceWire,
  nodeWire,
  serviceCidrWire,
  serviceWire,
} from '../../../src/services/wire-schemas.ts';
import {
  bytes,
  encodeList,
  encodeMessage,
  encodeStatus,
  varint,
} from '../../support/wire-encoder.ts';

type Value = Record<string, unknown>;

const schemas = { serviceWire, endpointSliceWire, nodeWire, serviceCidrWire };
const meta = { resourceVersion: '4711', continue: 'further' };

/** Any value of a message, as JSON would show it: what is empty and no pointer is left out. */
function valueOf(schema: WireMessage): fc.Arbitrary<Value> {
  const fields = schema.filter((field) => field !== undefined);
  return fc.record(Object.fromEntries(fields.map((field) => [field.name, fieldOf(field)])), {
    requiredKeys: [],
  });
}

function fieldOf(field: WireField): fc.Arbitrary<unknown> {
  if (field.repeated === true) return fc.array(plain(field), { minLength: 1, maxLength: 4 });
  const value = plain(field);
  return field.pointer === true ? value : value.filter((each) => !isZero(each));
}

function isZero(value: unknown): boolean {
  return value === '' || value === 0 || value === false;
}

function plain({ type }: WireField): fc.Arbitrary<unknown> {
  switch (type) {
    case 'text':
      return fc.oneof(fc.constantFrom('TCP', '10.0.0.1', ''), fc.string({ unit: 'binary' }));
    case 'integer':
      return fc.integer();
    case 'flag':
      return fc.boolean();
    case 'time':
      return fc
        .integer({ min: 0, max: 4_000_000_000 })
        .map((seconds) => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z'));
    case 'labels':
      return fc.dictionary(fc.string(), fc.string(), { minKeys: 1, noNullPrototype: false });
    default:
      return valueOf(type);
  }
}

function split(
  schema: WireMessage,
  chunks: readonly Buffer[],
): { readonly list: unknown; readonly items: readonly unknown[] } {
  const items: unknown[] = [];
  const splitter = new WireListSplitter(schema, (item) => items.push(item));
  for (const chunk of chunks) splitter.push(chunk);
  return { list: splitter.end(), items };
}

/** The code of what it throws. */
function failureOf(work: () => unknown): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : String(error);
  }
}

function cut(whole: Buffer, at: readonly number[]): readonly Buffer[] {
  const places = [0, ...at.map((each) => each % whole.length).toSorted((a, b) => a - b)];
  return places.map((start, i) => whole.subarray(start, places[i + 1] ?? whole.length));
}

describe.each(Object.entries(schemas))('lists in Protocol Buffers, %s', (_, schema) => {
  it('say what their JSON would say, however their bytes come', () => {
    fc.assert(
      fc.property(
        fc.array(valueOf(schema), { maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (values, places) => {
          const whole = encodeList(schema, values, meta);
          const { list, items } = split(schema, cut(whole, places));
          expect(list).toEqual({ metadata: meta, items: [] });
          expect(items).toEqual(values);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('that break off anywhere are an error, and what came before was right', () => {
    fc.assert(
      fc.property(fc.array(valueOf(schema), { maxLength: 3 }), fc.nat(), (values, place) => {
        const whole = encodeList(schema, values, meta);
        // the envelope's own end says nothing: 4 bytes of empty fields
        const start = whole.subarray(0, place % (whole.length - 4));
        const items: unknown[] = [];
        const splitter = new WireListSplitter(schema, (item) => items.push(item));
        splitter.push(start);
        expect(() => splitter.end()).toThrow(/breaks off/);
        expect(items).toEqual(values.slice(0, items.length));
      }),
      { numRuns: 150 },
    );
  });

  it('of garbage are an error or a list, never a hang', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        const whole = Buffer.concat([Buffer.from('k8s\0', 'latin1'), garbage]);
        expect(['source', undefined]).toContain(failureOf(() => split(schema, [whole])));
      }),
      { numRuns: 300 },
    );
  });
});

describe('the reader of messages', () => {
  const schema: WireMessage = [
    undefined,
    { name: 'text', type: 'text' },
    { name: 'number', type: 'integer' },
    { name: 'pointer', type: 'text', pointer: true },
  ];

  it('passes by fields it does not know, of every type', () => {
    const message = Buffer.concat([
      bytes(9, Buffer.from('unknown')),
      Buffer.concat([varint(10 * 8 + 1), Buffer.alloc(8, 0xff)]),
      Buffer.concat([varint(11 * 8 + 5), Buffer.alloc(4, 0xff)]),
      Buffer.concat([varint(12 * 8), varint(2 ** 40)]),
      encodeMessage(schema, { text: 'known' }),
    ]);
    expect(new WireReader(message).message(schema)).toEqual({ text: 'known' });
  });

  it('leaves out what is empty and no pointer, as JSON does', () => {
    const message = encodeMessage(schema, { text: '', number: 0, pointer: '' });
    expect(new WireReader(message).message(schema)).toEqual({ pointer: '' });
  });

  it.each([0, 1, 127, 128, 65_535, 2 ** 31 - 1, -1, -(2 ** 31), 2 ** 40])('reads %d', (value) => {
    const message = encodeMessage(schema, { number: value });
    expect(new WireReader(message).message(schema)['number'] ?? 0).toBe(value);
  });

  it('tells texts apart that share a length or look alike in bytes', () => {
    const texts = ['Ã©', 'é', 'ab', 'ba', 'Aa', 'BB', 'AaAa', 'BBBB', 'AaBB'];
    const schemaOfTexts: WireMessage = [undefined, { name: 't', type: 'text', repeated: true }];
    for (const order of [texts, texts.toReversed()]) {
      const message = encodeMessage(schemaOfTexts, { t: order });
      expect(new WireReader(message).message(schemaOfTexts)).toEqual({ t: order });
    }
  });

  it('names an object that is none of the API’s, and a field without an end', () => {
    const splitter = new WireListSplitter(schema, () => {});
    expect(() => splitter.push(Buffer.from('<html>'))).toThrow(/no object of the Kubernetes API/);
    const endless = Buffer.concat([Buffer.from('k8s\0', 'latin1'), varint(10), varint(2 ** 30)]);
    expect(() => new WireListSplitter(schema, () => {}).push(endless)).toThrow(/no end/);
  });

  it('reads the message of a Status', () => {
    expect(wireStatusMessage(encodeStatus('too old resource version'))).toBe(
      'too old resource version',
    );
    expect(wireStatusMessage(Buffer.from('bad gateway'))).toBe('');
  });
});
