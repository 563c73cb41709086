import { setImmediate } from 'node:timers/promises';

import { objectKey, type Kind, type KubeObject, type Slimmed } from './kind.ts';
import { withIdentity } from './manifest-identity.ts';
import { slimSafely } from './slim.ts';
import { meantKind } from './meant-kind.ts';
import { readYamlDocuments, type YamlDocument } from './yaml-documents.ts';

/** Something in a manifest that cannot be used; everything else still is. */
export interface ManifestProblem {
  readonly file: string;
  /** From 1; 0 where the file itself is the problem. */
  readonly document: number;
  /** `Service default/web`, where the object could be told. */
  readonly object?: string;
  /** `spec.ports[0].port`, with `items[3].` in front inside a list. */
  readonly field?: string;
  readonly reason: string;
  /** From 1. */
  readonly line?: number;
  /** Something is missing from the result because of it (a field alone may be unusable without that). */
  readonly unusable: boolean;
}

/** One object, and where it stood. */
export interface ManifestEntry {
  readonly kind: Kind<KubeObject>;
  readonly object: KubeObject;
  readonly file: string;
  readonly document: number;
  readonly line: number | undefined;
  /** A field of it cannot be used. */
  readonly flawed: boolean;
  /** Its file no longer shows it, and that is not believed. It gives way to the same object elsewhere. */
  readonly kept: boolean;
}

/** What one file holds, before files are put together. */
export interface ManifestFile {
  readonly file: string;
  readonly entries: readonly ManifestEntry[];
  readonly problems: readonly ManifestProblem[];
  /** Objects of kinds nobody asked for. */
  readonly ignored: number;
  /** There is not one character in it. */
  readonly blank: boolean;
  /** The document, from 1, that ends in the middle of a line and may be cut there; 0: none does. */
  readonly cutDocument: number;
  /** It says something of the kinds asked for: an object, be it selected or not, or a list of none. */
  readonly concerned: boolean;
}

/** The objects of some manifests, by kind. */
export interface ManifestSet {
  /** In the order they were read. Empty for a kind that was not asked for. */
  of<T extends KubeObject>(kind: Kind<T>): readonly T[];
  readonly problems: readonly ManifestProblem[];
  /** Objects of kinds nobody asked for. */
  readonly ignored: number;
}

/** {@link parseManifestFile} and {@link mergeManifests} for one text, without a pause. */
export function parseManifests(
  text: string,
  fileName: string,
  kinds: readonly Kind<KubeObject>[],
): ManifestSet {
  const reader = new FileReader(fileName, kinds);
  for (const document of readYamlDocuments(text)) reader.readDocument(document);
  return mergeManifests([reader.result(text)]);
}

/**
 * Reads the objects of `kinds` from YAML or JSON of many documents; `List`, `ServiceList` and the
 * like are opened. Never throws: what cannot be used is in `problems`. `fileName` is for messages
 * alone. Others get their turn between documents: ten thousand of them take seconds.
 */
export async function parseManifestFile(
  text: string,
  fileName: string,
  kinds: readonly Kind<KubeObject>[],
): Promise<ManifestFile> {
  const reader = new FileReader(fileName, kinds);
  for (const document of readYamlDocuments(text)) {
    reader.readDocument(document);
    await setImmediate();
  }
  return reader.result(text);
}

const NOTHING = { blank: false, cutDocument: 0, concerned: false };

/** A file that could not be read at all. */
export function unreadableManifest(file: string, reason: string): ManifestFile {
  const problem: ManifestProblem = { file, document: 0, reason, unusable: true };
  return { file, entries: [], problems: [problem], ignored: 0, ...NOTHING };
}

/** Puts files together. Of objects with the same kind and name the last one counts; both places are reported. */
export function mergeManifests(files: readonly ManifestFile[]): ManifestSet {
  const byKind = new Map<Kind<KubeObject>, Map<string, ManifestEntry>>();
  const problems: ManifestProblem[] = [];
  for (const file of files) {
    problems.push(...file.problems);
    for (const entry of file.entries) {
      const entries = byKind.get(entry.kind) ?? new Map<string, ManifestEntry>();
      byKind.set(entry.kind, entries);
      const key = objectKey(entry.object.meta);
      const earlier = entries.get(key);
      if (earlier !== undefined && !earlier.kept && entry.kept) continue;
      if (earlier?.kept === entry.kept) problems.push(duplicate(earlier, entry));
      entries.set(key, entry);
    }
  }
  return {
    of: <T extends KubeObject>(kind: Kind<T>) =>
      // an entry's object was made by the slim function of its kind, so it is a T
      Array.from(byKind.get(kind)?.values() ?? [], (entry) => entry.object as T),
    problems,
    ignored: files.reduce((sum, file) => sum + file.ignored, 0),
  };
}

/** `a.yaml: document 2, line 14: Service default/web: spec.ports[0].port: must be a number` */
export function manifestProblemText(problem: ManifestProblem): string {
  const place = [
    ...(problem.document > 0 ? [`document ${problem.document}`] : []),
    ...(problem.line === undefined ? [] : [`line ${problem.line}`]),
  ].join(', ');
  return [problem.file, place, problem.object, problem.field, problem.reason]
    .filter((part) => part !== undefined && part !== '')
    .join(': ');
}

/** `Service default/web`, as {@link ManifestProblem.object} says it. */
export function entryName({ kind, object }: ManifestEntry): string {
  return `${kind.kind} ${objectKey(object.meta)}`;
}

function duplicate(earlier: ManifestEntry, later: ManifestEntry): ManifestProblem {
  const line = earlier.line === undefined ? '' : `, line ${earlier.line}`;
  return {
    file: later.file,
    document: later.document,
    object: entryName(later),
    reason: `defined twice: also in ${earlier.file}, document ${earlier.document}${line}; this one, the later, is used`,
    ...(later.line === undefined ? {} : { line: later.line }),
    unusable: false,
  };
}

const NOT_USABLE: Slimmed<KubeObject> = { object: undefined, problems: [] };

/** Lists in lists; more than any tool writes. */
const MAX_LIST_DEPTH = 16;

/** Where in a document an object stands: [] or ['items', 3]. */
type Path = readonly (string | number)[];

class FileReader {
  readonly #file: string;
  readonly #kinds: ReadonlyMap<string, Kind<KubeObject>>;
  readonly #entries: ManifestEntry[] = [];
  readonly #problems: ManifestProblem[] = [];
  /** The items of the lists that are being read. An alias of YAML can put a list into itself. */
  readonly #open = new Set<unknown>();
  #ignored = 0;
  #concerned = false;
  #lastDocument = 0;

  constructor(file: string, kinds: readonly Kind<KubeObject>[]) {
    this.#file = file;
    this.#kinds = new Map(kinds.map((kind) => [`${kind.apiVersion} ${kind.kind}`, kind]));
  }

  /** `text` is what all documents came from. */
  result(text: string): ManifestFile {
    return {
      file: this.#file,
      entries: this.#entries,
      problems: this.#problems,
      ignored: this.#ignored,
      blank: text.trim() === '',
      // JSON often ends without a line break, and never parses when it is cut
      cutDocument: /[\n}\]]$/.test(text) ? 0 : this.#lastDocument,
      concerned: this.#concerned,
    };
  }

  readDocument(document: YamlDocument): void {
    this.#lastDocument = document.number;
    if (document.error !== undefined) {
      const { reason, line } = document.error;
      this.#problems.push({
        file: this.#file,
        document: document.number,
        reason,
        ...(line === undefined ? {} : { line }),
        unusable: true,
      });
      return;
    }
    // an empty document, as between two separators
    if (document.value === null || document.value === undefined) return;
    this.#readObject(document, document.value, []);
  }

  #readObject(document: YamlDocument, raw: unknown, path: Path): void {
    if (!isRecord(raw)) {
      this.#report(document, path, { reason: 'not an object with apiVersion and kind' });
      return;
    }
    const { apiVersion, kind: kindName } = raw;
    if (typeof apiVersion !== 'string' || typeof kindName !== 'string') {
      const field = typeof kindName === 'string' ? 'apiVersion' : 'kind';
      this.#report(document, path, { field, reason: 'is missing or no string' });
      return;
    }
    const kind = this.#kinds.get(`${apiVersion} ${kindName}`);
    if (kind !== undefined) this.#readKnown(document, raw, path, kind);
    else if (kindName.endsWith('List')) this.#readList(document, raw, path, kindName);
    else this.#ignore(document, path, apiVersion, kindName);
  }

  /** A folder may hold Deployments and much else; what is nearly one of our kinds is a mistake. */
  #ignore(document: YamlDocument, path: Path, apiVersion: string, kindName: string): void {
    this.#ignored++;
    const meant = meantKind({ apiVersion, kind: kindName }, [...this.#kinds.values()]);
    if (meant === undefined) return;
    const field = meant.kind === kindName ? 'apiVersion' : 'kind';
    this.#report(document, path, {
      object: shownKey(kindName),
      field,
      reason: `expected ${meant[field]}, got ${JSON.stringify(field === 'kind' ? kindName : apiVersion)}; the object is ignored`,
    });
  }

  /** `List` holds whole objects; the items of a `ServiceList` need not repeat what they are. */
  #readList(
    document: YamlDocument,
    list: Record<string, unknown>,
    path: Path,
    kindName: string,
  ): void {
    const items = list['items'] ?? [];
    if (!Array.isArray(items)) {
      this.#report(document, path, { field: 'items', reason: 'must be a list of objects' });
      return;
    }
    const itemKind = kindName.slice(0, -'List'.length);
    const typed = itemKind === '' ? {} : { apiVersion: list['apiVersion'], kind: itemKind };
    const asked = itemKind === '' || this.#kinds.has(`${String(list['apiVersion'])} ${itemKind}`);
    if (items.length === 0 && asked) this.#concerned = true;
    if (this.#open.has(items) || this.#open.size === MAX_LIST_DEPTH) {
      const reason = 'is nested too deeply: a list that holds itself, or lists of lists of lists';
      this.#report(document, path, { field: 'items', reason });
      return;
    }
    this.#open.add(items);
    for (const [index, item] of items.entries()) {
      const raw: unknown = isRecord(item) ? { ...typed, ...item } : item;
      this.#readObject(document, raw, [...path, 'items', index]);
    }
    this.#open.delete(items);
  }

  #readKnown(
    document: YamlDocument,
    raw: Record<string, unknown>,
    path: Path,
    kind: Kind<KubeObject>,
  ): void {
    this.#concerned = true;
    const metadata = isRecord(raw['metadata']) ? raw['metadata'] : {};
    const name = metadata['name'];
    if (typeof name !== 'string' || name === '') {
      const object = kind.kind;
      this.#report(document, path, {
        object,
        field: 'metadata.name',
        reason: 'is missing or no string (a name such as 123 or no has to be quoted)',
      });
      return;
    }
    const identified = withIdentity(raw, metadata, name, kind);
    const whole = identified.raw;
    const object = `${kind.kind} ${shownKey(whole === undefined ? name : objectKey(whole.metadata))}`;
    if (whole !== undefined && kind.selects?.(whole) === false) return;
    const slimmed = whole === undefined ? NOT_USABLE : slimSafely(kind, whole);
    const problems = [...identified.problems, ...slimmed.problems];
    for (const problem of problems) {
      this.#report(document, path, { object, ...problem }, slimmed.object === undefined);
    }
    if (slimmed.object === undefined) {
      if (problems.length === 0) {
        this.#report(document, path, { object, reason: 'cannot be used' });
      }
      return;
    }
    // Without the line: what moves within its document is still the same object.
    const place = `${this.#file}: document ${document.number}`;
    this.#entries.push({
      kind,
      object: { ...slimmed.object, meta: { ...slimmed.object.meta, place } },
      file: this.#file,
      document: document.number,
      line: document.lineOf(path),
      flawed: problems.length > 0,
      kept: false,
    });
  }

  #report(
    document: YamlDocument,
    path: Path,
    problem: { readonly object?: string; readonly field?: string; readonly reason: string },
    unusable = true,
  ): void {
    const prefix = fieldText(path);
    const own = problem.field ?? '';
    const field = prefix !== '' && own !== '' ? `${prefix}.${own}` : prefix + own;
    const line = document.lineOf([...path, ...fieldPath(own)]);
    this.#problems.push({
      file: this.#file,
      document: document.number,
      ...(problem.object === undefined ? {} : { object: problem.object }),
      ...(field === '' ? {} : { field }),
      reason: problem.reason,
      ...(line === undefined ? {} : { line }),
      unusable,
    });
  }
}

/** A key as messages show it: what a kind has not checked yet must not reach a terminal as it is. */
function shownKey(key: string): string {
  return /^[\w./-]+$/.test(key) ? key : JSON.stringify(key);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** ['items', 3] → `items[3]` */
function fieldText(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

/** `spec.ports[0].port` → ['spec', 'ports', 0, 'port'] */
function fieldPath(field: string): Path {
  const parts = field.match(/[^.[\]]+/g) ?? [];
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
