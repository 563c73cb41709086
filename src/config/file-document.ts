import { isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { SwitchyardError, errorText } from '../error.ts';
import { configApiVersion, configKind } from './config-object.ts';

/** A configuration file as it is written: not yet known to fit. */
export interface FileDocument {
  readonly root: object;
  /** Keys that stand twice in one map, by their paths: the last one counts, as in kube-proxy's lenient reading. */
  readonly repeated: readonly string[];
}

/** What a file has to say that it is. */
export interface FileKind {
  readonly apiVersion: string;
  readonly kind: string;
}

const proxyKind: FileKind = { apiVersion: configApiVersion, kind: configKind };

/** Reads YAML or JSON of a kind, KubeProxyConfiguration unless given; throws a usage error that names the file where it is none. */
export function readDocument(
  text: string,
  path: string,
  { apiVersion, kind }: FileKind = proxyKind,
): FileDocument {
  const document = parseDocument(text, { version: '1.1', uniqueKeys: false });
  const [problem] = document.errors;
  if (problem?.code === 'MULTIPLE_DOCS') {
    throw new SwitchyardError('usage', `${path}: has more than one document, expected one`, {
      hint: `keep the ${kind} alone; no line of --- may follow it`,
    });
  }
  if (problem) throw new SwitchyardError('usage', `${path}: ${problem.message}`);
  const root = valueOf(document, path);
  if (!isFields(root) || root['kind'] !== kind || root['apiVersion'] !== apiVersion) {
    throw new SwitchyardError('usage', `${path}: is not a ${kind} of ${apiVersion}`, {
      hint: `it has to say: apiVersion: ${apiVersion}, kind: ${kind}`,
    });
  }
  const repeated: string[] = [];
  noteRepeated(document.contents, '', repeated);
  return { root, repeated };
}

/** Aliases may stand for more than there is room for, or for what they stand in: no configuration needs either. */
function valueOf(document: Document, path: string): unknown {
  try {
    const value: unknown = document.toJS();
    JSON.stringify(value);
    return value;
  } catch (cause) {
    const [problem] = errorText(cause).split('\n');
    throw new SwitchyardError('usage', `${path}: cannot be read: ${problem}`, {
      cause,
      hint: 'write out what aliases (*name) stand for',
    });
  }
}

/** Whether it is a map, and no list. */
export function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function noteRepeated(node: unknown, path: string, repeated: string[]): void {
  if (isSeq(node)) for (const item of node.items) noteRepeated(item, path, repeated);
  if (!isMap(node)) return;
  const seen = new Set<string>();
  for (const { key, value } of node.items) {
    const name = String(isScalar(key) ? key.value : key);
    const inner = path === '' ? name : `${path}.${name}`;
    if (seen.has(name)) repeated.push(inner);
    seen.add(name);
    noteRepeated(value, inner, repeated);
  }
}
