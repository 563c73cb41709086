import type { Image } from './oci.ts';
import type { Layer } from './tree.ts';

/** Parts that weigh less are added up. */
const smallestMb = 0.3;

/** What an image weighs, layer by layer, and the parts of each. */
export function weighed(image: Image, layers: readonly Layer[]): string {
  const lines = [`linux/${image.architecture}`, row('', 'MB', 'packed')];
  for (const { name, bytes, packedBytes } of image.layers) {
    lines.push(row(name, mb(bytes), mb(packedBytes)));
    const { entries = [] } = layers.find((each) => each.name === name) ?? {};
    for (const [part, size] of partsOf(entries)) lines.push(row(`  ${part}`, mb(size), ''));
  }
  const sum = (of: 'bytes' | 'packedBytes') =>
    mb(image.layers.reduce((total, each) => total + each[of], 0));
  lines.push(row('all', sum('bytes'), sum('packedBytes')));
  lines.push(`manifest ${image.digest}`, `image ID ${image.id}`);
  return `${lines.join('\n')}\n`;
}

function partsOf(entries: Layer['entries']): readonly (readonly [string, number])[] {
  const sizes = new Map<string, number>();
  for (const entry of entries) {
    if (entry.kind !== 'file') continue;
    sizes.set(entry.part, (sizes.get(entry.part) ?? 0) + entry.data.length);
  }
  if (sizes.size < 2) return [];
  const large = [...sizes].filter(([, size]) => isLarge(size)).toSorted(([, a], [, b]) => b - a);
  const small = [...sizes.values()].filter((size) => !isLarge(size));
  const rest = small.reduce((total, size) => total + size, 0);
  return [...large, [`${small.length} others`, rest]];
}

function row(name: string, size: string, packed: string): string {
  return `${name.padEnd(28)}${size.padStart(8)}${packed.padStart(8)}`.trimEnd();
}

function isLarge(size: number): boolean {
  return size >= smallestMb * 1e6;
}

/** In millions of bytes. */
function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
