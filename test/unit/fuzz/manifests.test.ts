// Manifests with broken documents, bombs, odd line ends and cuts: reading never fails, good documents come out
// whole, and every broken one is reported.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseManifests } from '../../../src/informer/manifests.ts';
import type { ManifestSet } from '../../../src/informer/manifests.ts';
import { endpointSliceKind } from '../../../src/services/endpoint-slice-kind.ts';
import { serviceKind } from '../../../src/services/service-kind.ts';
import { rawService } from '../../support/scene.ts';
import { bounded, fuzzTimeoutMs } from './bounds.ts';
import { oddTexts, pathsOf, withValue } from './odd-values.ts';

const kinds = [serviceKind, endpointSliceKind];
const read = (text: string): ManifestSet => parseManifests(text, 'm.yaml', kinds);

/** Fields only: where an object stood is another matter. */
function servicesOf(set: ManifestSet): readonly unknown[] {
  return set
    .of(serviceKind)
    .map((object) => ({ ...object, meta: { ...object.meta, place: undefined } }));
}

/** How one good Service may be written. */
type Style = 'yaml' | 'flow' | 'json' | 'pretty' | 'anchors' | 'merge' | 'comments';
const styles: readonly Style[] = ['yaml', 'flow', 'json', 'pretty', 'anchors', 'merge', 'comments'];

function goodService(at: number): unknown {
  const spec = {
    clusterIP: `10.96.1.${at}`,
    ports: [{ name: 'http', port: 80 + at, protocol: 'UDP' }],
  };
  return rawService(spec, { metadata: { name: `good-${at}` } });
}

function written(at: number, style: Style): string {
  const object = goodService(at);
  const [name, ip, port] = [`good-${at}`, `10.96.1.${at}`, 80 + at];
  const head = `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ns1}\n`;
  switch (style) {
    case 'yaml':
      return stringify(object, { version: '1.1' });
    case 'flow':
      return stringify(object, { version: '1.1', collectionStyle: 'flow' });
    case 'json':
      return JSON.stringify(object);
    case 'pretty':
      return JSON.stringify(object, null, 2);
    case 'anchors':
      return `${head}x-ip: &ip ${ip}\nspec:\n  clusterIP: *ip\n  ports: [{name: http, port: ${port}, protocol: UDP}]\n`;
    case 'merge':
      return `${head}x: &p {name: http, protocol: UDP, port: 1}\nspec:\n  clusterIP: ${ip}\n  ports:\n  - <<: *p\n    port: ${port}\n`;
    case 'comments':
      break;
  }
  return `# --- no separator\n${head.replaceAll('\n', ' # "\n')}spec: # '\n  clusterIP: ${ip}\n  ports:\n  - name: http\n    # {\n    port: ${port}\n    protocol: UDP\n`;
}

const laughs = [
  '&a [x,x,x,x,x,x,x,x,x]',
  ...Array.from(
    { length: 8 },
    (_, at) => `&${'bcdefghi'[at]} [${`*${'abcdefgh'[at]},`.repeat(9)}]`,
  ),
]
  .map((line, at) => `k${at}: ${line}`)
  .join('\n');

/** Documents without a usable object, each of which has to be reported. */
const broken: Readonly<Record<string, string>> = {
  'a tab': 'apiVersion: v1\n\tkind: Service\n',
  'an open quote': 'apiVersion: v1\nkind: "Service\nmetadata: {name: x}\n',
  'an open brace': '{"apiVersion":"v1","kind":"Service"',
  'an alias without an anchor': 'apiVersion: v1\nkind: Service\nmetadata: *nowhere\n',
  'a bomb of aliases': `apiVersion: v1\nkind: Service\nmetadata: {name: x}\n${laughs}\nspec: *i\n`,
  'an anchor that holds itself': 'apiVersion: v1\nkind: Service\nmetadata: &m [*m]\n',
  'a merge of what is no map':
    'apiVersion: v1\nkind: Service\nmetadata:\n  <<: [1, 2]\n  name: x\n',
  'a key twice': 'apiVersion: v1\nkind: Service\nkind: Service\nmetadata: {name: x}\n',
  'no object': '- 1\n- 2\n',
  'a number': '42\n',
  'a text': 'just words\n',
  'no kind': 'apiVersion: v1\nmetadata: {name: x}\n',
  'a kind of numbers': 'apiVersion: 1\nkind: 2\n',
  'no name': 'apiVersion: v1\nkind: Service\nspec: {}\n',
  'a name of numbers': 'apiVersion: v1\nkind: Service\nmetadata: {name: 123}\n',
  'a name of harm':
    'apiVersion: v1\nkind: Service\nmetadata: {name: "a\\"\\n-A INPUT"}\nspec: {}\n',
  'a kind misspelt': 'apiVersion: v1\nkind: Servcie\nmetadata: {name: x}\n',
  'a list of what is no list': 'apiVersion: v1\nkind: List\nitems: 7\n',
  'a list with holes': 'apiVersion: v1\nkind: List\nitems: [null, 7, []]\n',
  'a list in a list in a list':
    'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: v1\n    kind: ServiceList\n    items: [{metadata: {}}]\n',
  'a list that holds itself':
    'apiVersion: v1\nkind: List\nitems: &i [{apiVersion: v1, kind: List, items: *i}, {apiVersion: v1, kind: List, items: *i}]\n',
  'a list in very many lists': `${'{"apiVersion":"v1","kind":"List","items":['.repeat(5000)}${']}'.repeat(5000)}`,
  'brackets without end': '['.repeat(3000),
  'braces without end': '{"a":'.repeat(3000),
  'dashes without end': `${'- '.repeat(3000)}\n`,
  'deep JSON': `{"apiVersion":"v1","kind":"Service","metadata":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`,
  'control letters': 'apiVersion: v1\nkind: Service\nmetadata: {name: "\u0000\u0001"}\n',
  'a reserved sign': 'apiVersion: v1\nkind: @Service\n',
  'a block without a mark': 'apiVersion: v1\nkind: Service\nmetadata:\n name: x\n  namespace: y\n',
};

/** Doubles would nearly all be tiny. */
const shares = fc.nat(1000).map((permille) => permille / 1000);

const goodPieces = fc.record({
  good: fc.constant(true as const),
  style: fc.constantFrom(...styles),
});
const badPieces = fc.record({
  good: fc.constant(false as const),
  name: fc.constantFrom(...Object.keys(broken)),
});
const layouts = fc.record({
  pieces: fc.array(fc.oneof({ weight: 2, arbitrary: goodPieces }, badPieces), {
    minLength: 1,
    maxLength: 8,
  }),
  separator: fc.constantFrom('---\n', '--- # next\n', '---   \n', '---\n\n---\n', '...\n---\n'),
  crlf: fc.boolean(),
  bom: fc.boolean(),
  lastLineEnds: fc.boolean(),
});

describe('manifests with broken documents among good ones', () => {
  it(
    'give all good objects, whole, and say of each broken document that it is',
    () => {
      fc.assert(
        fc.property(layouts, ({ pieces, separator, crlf, bom, lastLineEnds }) => {
          const texts = pieces.map((piece, at) =>
            piece.good ? written(at, piece.style) : (broken[piece.name] ?? ''),
          );
          let text = texts
            .map((each) => (each.endsWith('\n') ? each : `${each}\n`))
            .join(separator);
          if (!lastLineEnds) text = text.trimEnd();
          if (crlf) text = text.replaceAll('\n', '\r\n');
          const set = read(bom ? `\uFEFF${text}` : text);
          const wanted = pieces.flatMap((piece, at) => (piece.good ? [at] : []));
          const right = read(wanted.map((at) => JSON.stringify(goodService(at))).join('\n---\n'));
          expect(servicesOf(set)).toEqual(servicesOf(right));
          const documents = new Set(set.problems.map(({ document }) => document));
          expect(documents.size).toBe(pieces.length - wanted.length);
          expect(set.problems.filter(({ reason }) => reason === '')).toEqual([]);
        }),
        bounded(60),
      );
    },
    fuzzTimeoutMs,
  );

  it.each(Object.entries(broken))('among them: %s', (_name, text) => {
    const set = read(`${written(0, 'yaml')}---\n${text}\n---\n${written(1, 'json')}`);
    expect(set.of(serviceKind).map(({ meta }) => meta.name)).toEqual(['good-0', 'good-1']);
    expect(new Set(set.problems.map(({ document }) => document))).toEqual(new Set([2]));
  });

  it(
    'that are cut anywhere give what stood before the cut as it was, and nothing that was not there',
    () => {
      const cuts = fc.tuple(
        fc.array(fc.constantFrom(...styles), { minLength: 1, maxLength: 5 }),
        shares,
      );
      fc.assert(
        fc.property(cuts, ([chosen, share]) => {
          const texts = chosen.map((style, at) => `${written(at, style)}\n`);
          const text = texts.join('---\n');
          const end = Math.floor(text.length * share);
          // Half a separator is a line too much of the document before it.
          const isWhole = (_: string, at: number): boolean => {
            const behind = texts.slice(0, at + 1).join('---\n').length;
            return end === behind || end >= behind + 3;
          };
          const whole = texts.filter(isWhole).length;
          const set = read(text.slice(0, end));
          const right = servicesOf(read(text));
          expect(servicesOf(set).slice(0, whole)).toEqual(right.slice(0, whole));
          // Of the document that was cut, at most the object itself is there, with less in it.
          const names = set.of(serviceKind).map(({ meta }) => meta.name);
          expect(names.length).toBeLessThanOrEqual(whole + 1);
        }),
        bounded(120),
      );
    },
    fuzzTimeoutMs,
  );
});

describe('one object', () => {
  it(
    'means the same in YAML and in JSON, whatever its texts are',
    () => {
      const tree = goodService(7);
      const odd = fc.tuple(
        fc.constantFrom(...pathsOf(tree)),
        fc.oneof(
          oddTexts,
          fc.constantFrom(
            'yes',
            'no',
            'on',
            '~',
            '010',
            '0o17',
            '1_000',
            '12:30:45',
            '2026-01-01',
            '.inf',
            '<<',
            '=',
            '- a',
            '? b',
            'a: b',
            '#c',
            '&d',
            '*e',
            '!f',
            '|',
            '>',
            '%g',
            "'",
            '"',
            '@',
          ),
        ),
      );
      fc.assert(
        fc.property(odd, fc.boolean(), ([path, value], flow) => {
          const object = withValue(tree, path, value.length > 1000 ? value.slice(0, 1000) : value);
          const collectionStyle = flow ? 'flow' : 'block';
          const yaml = read(stringify(object, { version: '1.1', collectionStyle }));
          const json = read(JSON.stringify(object));
          expect(servicesOf(yaml)).toEqual(servicesOf(json));
          expect(yaml.problems.map(({ field, reason }) => [field, reason])).toEqual(
            json.problems.map(({ field, reason }) => [field, reason]),
          );
        }),
        bounded(200),
      );
    },
    fuzzTimeoutMs,
  );
});
