import type { Image } from '../cri/gen/api_pb.ts';
import type { ImageRecord } from './image-records.ts';

/** What of an image the choice is made by. */
export type ListedImage = Pick<Image, 'id' | 'repoTags' | 'repoDigests' | 'size' | 'pinned'>;

/** Whatever else says which one it is: a runtime may not. */
const pauseName = /(?:^|\/)pause(?:[:@]|$)/;

/** Whether an image must never go: without that of sandboxes no pod starts any more. `pauseImage`: as the runtime is configured. */
export function isKept(image: ListedImage, pauseImage: string | undefined): boolean {
  const names = [...image.repoTags, ...image.repoDigests];
  return (
    image.pinned ||
    names.some((name) => pauseName.test(name)) ||
    (pauseImage !== undefined && isNamed(image, new Set([pauseImage])))
  );
}

/** Whether an image is one of those that are named: by its id, a tag or a digest, in whatever short form. */
export function isNamed(image: ListedImage, names: ReadonlySet<string>): boolean {
  const own = [image.id, image.id.replace(/^sha256:/, ''), ...image.repoTags, ...image.repoDigests];
  return own.some((name) => names.has(name) || names.has(shortName(name)));
}

/** Names of images as pods and containers have them, for {@link isNamed}: where there is a digest, no runtime keeps a tag beside it. */
export function usedNames(names: readonly string[]): ReadonlySet<string> {
  const withoutTags = names.map((name) => name.replace(/:[\w.-]+(?=@)/, ''));
  const used = new Set([...withoutTags, ...withoutTags.map(shortName)]);
  used.delete('');
  return used;
}

/** `docker.io/library/busybox:1` may be asked for as `busybox:1`. */
function shortName(name: string): string {
  return name.replace(/^docker\.io\/(?:library\/)?/, '');
}

/** In the order in which they go: what was used least lately first, then what has been there for longest. */
export function leastUsedFirst<T extends { readonly record: ImageRecord }>(
  images: readonly T[],
): readonly T[] {
  return images.toSorted(
    ({ record: a }, { record: b }) => a.usedMs - b.usedMs || a.detectedMs - b.detectedMs,
  );
}

/** The image of sandboxes, of what the runtime says of its configuration (containerd: the JSON `config` of a verbose status). */
export function pauseImageOf(info: Readonly<Record<string, string>>): string | undefined {
  try {
    const { sandboxImage } = JSON.parse(info['config'] ?? '{}') as { sandboxImage?: unknown };
    return typeof sandboxImage === 'string' && sandboxImage !== '' ? sandboxImage : undefined;
  } catch {
    return undefined;
  }
}
