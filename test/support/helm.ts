import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { parseAllDocuments } from 'yaml';

/** The chart that is tested. */
export const chart = join(import.meta.dirname, '../../charts/switchyard');

/** The least that has to be said. */
export const leastValues = { apiServer: { host: '192.0.2.10' } };

/** What a chart renders: an object of the API. */
export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

export interface RenderOptions {
  readonly values?: object;
  readonly release?: string;
  readonly namespace?: string;
}

/** The chart's objects as text, as `helm install` would send them; rejects with helm's words. */
export async function renderText(helm: string, options: RenderOptions = {}): Promise<string> {
  const { values = leastValues, release = 'switchyard', namespace = 'kube-system' } = options;
  return withValues(values, async (file) => {
    const args = ['template', release, chart, '--namespace', namespace, '--values', file];
    const { stdout } = await execa(helm, args);
    return `${stdout}\n`;
  });
}

/** The chart's objects. */
export async function render(helm: string, options?: RenderOptions): Promise<readonly Rendered[]> {
  return objectsOf(await renderText(helm, options));
}

/** What `helm lint` finds, as text; rejects where it finds anything. */
export async function lint(helm: string, values: object = leastValues): Promise<string> {
  return withValues(values, async (file) => {
    const { all } = await execa(helm, ['lint', '--strict', chart, '--values', file], { all: true });
    return all;
  });
}

/** The objects of a text of many documents. */
export function objectsOf(text: string): readonly Rendered[] {
  return parseAllDocuments(text)
    .map((document): unknown => {
      const [error] = 'errors' in document ? document.errors : [];
      if (error !== undefined) throw error;
      return document.toJS();
    })
    .filter((object): object is Rendered => object !== null);
}

/** The one object of a kind; throws where there are more or none. */
export function only(objects: readonly Rendered[], kind: string): Rendered {
  const found = objects.filter((each) => each.kind === kind);
  const [first] = found;
  if (first === undefined || found.length > 1)
    throw new Error(`${found.length} objects of ${kind}`);
  return first;
}

/** Values as a file, which goes with the work. */
export async function withValues<T>(
  values: object,
  work: (file: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-values-'));
  try {
    const file = join(folder, 'values.json');
    await writeFile(file, JSON.stringify(values));
    return await work(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
