import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { systemCode } from '../../../error.ts';
import type { Exchange } from '../routes.ts';
import { sayText } from '../say.ts';

/** A pipe without a writer would hold the open up. */
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const deepest = 32;
const prefix = '/logs/';

type Found =
  | { readonly kind: 'folder'; readonly handle: FileHandle }
  | { readonly kind: 'file'; readonly handle: FileHandle }
  | { readonly kind: 'none' };

/**
 * `/logs/…`: the files of the node's folder of logs. The path is walked by handles and never through a link: pods may
 * have that folder mounted, and a link they make there would show any file of the node to whoever may read its logs.
 */
export class SystemLogs {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async answer({ request, response, url, signal }: Exchange): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      sayText(response, 405, '405: Method Not Allowed');
      return;
    }
    if (url.searchParams.has('query')) {
      sayText(response, 403, 'services of the node cannot be asked for their logs here');
      return;
    }
    const names = namesOf(url.pathname);
    const found: Found =
      names === undefined ? { kind: 'none' } : await this.#walk(names, url.pathname.endsWith('/'));
    if (found.kind === 'none') {
      sayText(response, 404, '404 page not found\n');
      return;
    }
    try {
      if (found.kind === 'folder' && !url.pathname.endsWith('/')) {
        response.writeHead(301, { Location: `${url.pathname.split('/').at(-1)}/` }).end();
      } else if (found.kind === 'folder') {
        response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
        response.end(await listing(found.handle));
      } else {
        response.writeHead(200, {
          'Content-Type': 'text/plain; charset=utf-8',
          'X-Content-Type-Options': 'nosniff',
        });
        if (request.method === 'HEAD') response.end();
        else {
          const content = found.handle.createReadStream({ autoClose: false });
          await pipeline(content, response, { signal });
        }
      }
    } finally {
      await found.handle.close();
    }
  }

  async #walk(names: readonly string[], wantsFolder: boolean): Promise<Found> {
    let here: FileHandle | undefined;
    try {
      here = await open(this.#root, flags | constants.O_DIRECTORY);
      for (const name of names) {
        const next = await open(`/proc/self/fd/${here.fd}/${name}`, flags);
        await here.close();
        here = next;
      }
      const found = await here.stat();
      if (found.isDirectory()) return { kind: 'folder', handle: here };
      if (found.isFile() && !wantsFolder) return { kind: 'file', handle: here };
      await here.close();
      return { kind: 'none' };
    } catch (error) {
      await here?.close();
      if (absent.has(systemCode(error) ?? '')) return { kind: 'none' };
      throw error;
    }
  }
}

/** Not there, a link, something on a file, a name that is too long, a socket or a device without anything behind it. */
const absent: ReadonlySet<string> = new Set([
  'ENOENT',
  'ELOOP',
  'ENOTDIR',
  'ENAMETOOLONG',
  'ENXIO',
  'ENODEV',
]);

/** undefined: it cannot be that of a file. */
function namesOf(path: string): readonly string[] | undefined {
  const parts = path.slice(prefix.length).split('/');
  const names: string[] = [];
  for (const part of parts) {
    const name = decoded(part);
    if (name === undefined || name === '..' || /[/\0]/.test(name)) return undefined;
    if (name !== '' && name !== '.') names.push(name);
  }
  return names.length > deepest ? undefined : names;
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

/** As Go's file server has it, which clients read. */
async function listing(folder: FileHandle): Promise<string> {
  const entries = await readdir(`/proc/self/fd/${folder.fd}`, { withFileTypes: true });
  const lines = entries
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .toSorted()
    .map((name) => `<a href="${hrefOf(name)}">${escaped(name)}</a>\n`);
  return `<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n${lines.join('')}</pre>\n`;
}

/** A name with a colon would be taken for one with a scheme. */
function hrefOf(name: string): string {
  const path = name.split('/').map(encodeURIComponent).join('/');
  return name.includes(':') ? `./${path}` : path;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&#34;');
}
