import { isNode, LineCounter, parseAllDocuments, type Document, type Tags } from 'yaml';

import { errorText } from '../error.ts';

/** One document of a file: its value, or why it has none. */
export interface YamlDocument {
  /** From 1, as people count. Empty documents count too. */
  readonly number: number;
  /** Undefined where `error` is set. */
  readonly value: unknown;
  readonly error: { readonly reason: string; readonly line: number | undefined } | undefined;
  /** The line (from 1) of the node at `path`, or of its nearest parent that exists. */
  readonly lineOf: (path: readonly (string | number)[]) => number | undefined;
}

/** 1.1 scalars that Kubernetes' own YAML reader takes for strings: dates, and 10:20 as base 60. */
const DROPPED_TAGS = new Set(['tag:yaml.org,2002:timestamp', 'tag:yaml.org,2002:set']);

function kubernetesTags(tags: Tags): Tags {
  return tags.filter((tag) => {
    if (typeof tag === 'string') return true;
    return !DROPPED_TAGS.has(tag.tag) && !('format' in tag && tag.format === 'TIME');
  });
}

/** More than any honest manifest has of one anchor times what it holds. */
const MAX_ALIASES = 10_000;

/**
 * Reads YAML or JSON of any number of documents, one after the other. YAML is read as version 1.1, as
 * the Kubernetes tools do (`yes` is true, `010` is 8), and cut at its separators before anything else,
 * as they do: an error, a quote left open too, spoils its own document only.
 */
export function* readYamlDocuments(text: string): Generator<YamlDocument> {
  let number = 0;
  for (const piece of pieces(text)) {
    for (const document of readJson(piece) ?? readYaml(piece)) {
      number++;
      yield { number, ...document };
    }
  }
}

/** Part of a text, and how many lines come before it. */
interface Piece {
  readonly text: string;
  readonly linesBefore: number;
}

type Content = Omit<YamlDocument, 'number'>;

/** Each piece but the first begins with its separator; directives stay with the document after them. */
function* pieces(text: string): Generator<Piece> {
  let start = 0;
  let linesBefore = 0;
  for (const { index } of text.matchAll(/^---(?=\s|$)/gm)) {
    const piece = text.slice(start, index);
    if (holdsDirectivesOnly(piece)) continue;
    if (index > start) yield { text: piece, linesBefore };
    linesBefore += lineBreaks(piece);
    start = index;
  }
  yield { text: text.slice(start), linesBefore };
}

function holdsDirectivesOnly(text: string): boolean {
  return /^%/m.test(text) && text.split('\n').every((line) => /^(?:[%#]|\s*$)/.test(line));
}

function lineBreaks(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/**
 * JSON is YAML, but this parser is many times faster. Objects one after the other are a document each,
 * as for kubectl. A syntax error is left to the YAML reader's line numbers.
 */
function readJson({ text }: Piece): readonly Content[] | undefined {
  const json = text.replace(/^---\s/, '');
  if (!/^\s*\{/.test(json)) return undefined;
  try {
    return [jsonContent(JSON.parse(json))];
  } catch {
    return readJsonObjects(json);
  }
}

function readJsonObjects(json: string): readonly Content[] | undefined {
  try {
    return jsonObjects(json).map((object) => jsonContent(JSON.parse(object)));
  } catch {
    return undefined;
  }
}

function jsonContent(value: unknown): Content {
  return { value, error: undefined, lineOf: () => undefined };
}

/** Cuts behind each brace that closes an object of the outermost level. */
function jsonObjects(json: string): readonly string[] {
  const objects: string[] = [];
  let depth = 0;
  let start = 0;
  for (const match of json.matchAll(/[{}]|"(?:[^"\\]|\\.)*"/g)) {
    if (match[0] === '{') depth++;
    if (match[0] !== '}' || --depth > 0) continue;
    objects.push(json.slice(start, match.index + 1));
    start = match.index + 1;
  }
  const rest = json.slice(start);
  return rest.trim() === '' ? objects : [...objects, rest];
}

function readYaml({ text, linesBefore }: Piece): readonly Content[] {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, {
    version: '1.1',
    customTags: kubernetesTags,
    lineCounter,
    prettyErrors: false,
    logLevel: 'silent',
  });
  if (!Array.isArray(documents)) return [];
  const position = (offset: number): { readonly line: number; readonly col: number } => {
    const { line, col } = lineCounter.linePos(offset);
    return { line: line + linesBefore, col };
  };
  return documents.map((document) => yamlContent(document, position));
}

function yamlContent(
  document: Document,
  position: (offset: number) => { readonly line: number; readonly col: number },
): Content {
  const lineOf = (path: readonly (string | number)[]): number | undefined => {
    for (let depth = path.length; depth >= 0; depth--) {
      const node: unknown =
        depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return position(node.range[0]).line;
    }
    return undefined;
  };
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = position(error.pos[0]);
    const reason = `not valid YAML: ${error.message} (line ${line}, column ${col})`;
    return { value: undefined, error: { reason, line }, lineOf };
  }
  try {
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    return { value, error: undefined, lineOf };
  } catch (thrown) {
    // more aliases than any honest manifest has, or an alias without an anchor
    const reason = `not valid YAML: ${errorText(thrown)}`;
    return { value: undefined, error: { reason, line: lineOf([]) }, lineOf };
  }
}
