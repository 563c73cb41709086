import type { Entry, Layer } from './tree.ts';

/** A tar archive (POSIX.1-1988, ustar) of a layer: the same entries give the same bytes. */
export function layerTar({ entries, time }: Layer): Buffer {
  return Buffer.concat([...entries.flatMap((entry) => member(entry, time)), Buffer.alloc(1024)]);
}

const types = { file: '0', link: '2', folder: '5' } as const;

function member(entry: Entry, time: number): readonly Buffer[] {
  const data = entry.kind === 'file' ? entry.data : Buffer.alloc(0);
  const target = entry.kind === 'link' ? entry.target : '';
  if (Buffer.byteLength(target) > 100) throw new Error(`${entry.path}: its target is too long`);
  const [prefix, name] = splitPath(entry.kind === 'folder' ? `${entry.path}/` : entry.path);
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(octal(entry.kind === 'link' ? 0o777 : entry.mode, 8), 100);
  header.write(octal(0, 8), 108); // owner
  header.write(octal(0, 8), 116); // group
  header.write(octal(data.length, 12), 124);
  header.write(octal(time, 12), 136);
  header.write('        ', 148); // the sum is taken over blanks
  header.write(types[entry.kind], 156);
  header.write(target, 157);
  header.write('ustar\u000000', 257);
  header.write(prefix, 345);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 7)} `, 148);
  return [header, data, Buffer.alloc((512 - (data.length % 512)) % 512)];
}

/** Prefix and name: a slash stands between them. */
function splitPath(path: string): readonly [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) return ['', path];
  const slash = path.lastIndexOf('/', Math.min(155, path.length - 2));
  const [prefix, name] = [path.slice(0, slash), path.slice(slash + 1)];
  if (slash < 0 || Buffer.byteLength(prefix) > 155 || Buffer.byteLength(name) > 100 || name === '')
    throw new Error(`${path} is too long for a tar archive`);
  return [prefix, name];
}

function octal(value: number, width: number): string {
  const digits = value.toString(8).padStart(width - 1, '0');
  if (digits.length >= width) throw new Error(`${value} is too large for a tar archive`);
  return `${digits}\u0000`;
}
