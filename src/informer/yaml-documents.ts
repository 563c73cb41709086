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

/**
 * Reads YAML or JSON of any number of documents. YAML is read as version 1.1, as the Kubernetes tools
 * do (`yes` is true, `010` is 8). An error spoils its own document only.
 */
export function readYamlDocuments(text: string): readonly YamlDocument[] {
  return readJson(text) ?? readYaml(text);
}

/** JSON is YAML, but this parser is many times faster; a syntax error is left to the YAML reader's line numbers. */
function readJson(text: string): readonly YamlDocument[] | undefined {
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return [{ number: 1, value, error: undefined, lineOf: () => undefined }];
  } catch {
    return undefined;
  }
}

function readYaml(text: string): readonly YamlDocument[] {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, {
    version: '1.1',
    customTags: kubernetesTags,
    lineCounter,
    prettyErrors: false,
    logLevel: 'silent',
  });
  if (!Array.isArray(documents)) return [];
  return documents.map((document, index) => toYamlDocument(document, index + 1, lineCounter));
}

function toYamlDocument(document: Document, number: number, lines: LineCounter): YamlDocument {
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  const lineOf = (path: readonly (string | number)[]): number | undefined => {
    for (let depth = path.length; depth >= 0; depth--) {
      const node: unknown =
        depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return lineAt(node.range[0]);
    }
    return undefined;
  };
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    const reason = `not valid YAML: ${error.message} (line ${line}, column ${col})`;
    return { number, value: undefined, error: { reason, line }, lineOf };
  }
  try {
    return { number, value: document.toJS() as unknown, error: undefined, lineOf };
  } catch (thrown) {
    // more aliases than any honest manifest has, or an alias without an anchor
    const reason = `not valid YAML: ${errorText(thrown)}`;
    return { number, value: undefined, error: { reason, line: lineOf([]) }, lineOf };
  }
}
