import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Clock } from '../../../src/clock.ts';
import type {
  ImageSchema,
  ImageStatusRequest,
  PullImageRequest,
  RemoveImageRequest,
} from '../../../src/kubelet/cri/gen/api_pb.ts';

/** An image that a registry has, or that lies on the node. */
export interface FakeImage {
  /** In full: `docker.io/local/busybox:1`. */
  readonly name: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** `1000`, `nobody`; default: root. */
  readonly user?: string;
  readonly sizeBytes?: number;
  readonly pinned?: boolean;
  /** `user:password` that a pull needs. */
  readonly credentials?: string;
  readonly pullMs?: number;
  /** A pull waits for it. */
  readonly gate?: () => Promise<void>;
}

/** `busybox` is `docker.io/library/busybox:latest`. */
export function fullName(name: string): string {
  const [head = '', ...rest] = name.split('/');
  const registry = rest.length > 0 && /[.:]|^localhost$/.test(head);
  const path = registry ? name : `docker.io/${rest.length === 0 ? 'library/' : ''}${name}`;
  return path.includes('@') || /:[^/]+$/.test(path) ? path : `${path}:latest`;
}

export function imageId({ name }: FakeImage): string {
  return `sha256:${createHash('sha256').update(`config ${name}`).digest('hex')}`;
}

export function imageDigest({ name }: FakeImage): string {
  const digest = createHash('sha256').update(`manifest ${name}`).digest('hex');
  return `${name.replace(/:[^/:]+$/, '')}@sha256:${digest}`;
}

/** The images of a node, and the registries that it reaches. */
export class FakeImages {
  readonly #clock: Clock;
  readonly present = new Map<string, FakeImage>();
  readonly registry = new Map<string, FakeImage>();
  readonly #pulled = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** As an import does it. */
  add(image: FakeImage): void {
    this.present.set(image.name, image);
  }

  /** Lets a pull find it. */
  offer(image: FakeImage): void {
    this.registry.set(image.name, image);
  }

  find(name: string): FakeImage | undefined {
    const full = fullName(name);
    return [...this.present.values()].find(
      (image) => image.name === full || imageId(image) === name || imageDigest(image) === full,
    );
  }

  /** What containers have for their image: one that was imported has no digest of a repository. */
  ref(image: FakeImage): string {
    return this.#pulled.has(image.name) ? imageDigest(image) : imageId(image);
  }

  list(): MessageInitShape<typeof ImageSchema>[] {
    return [...this.present.values()].map((image) => this.#message(image));
  }

  status({ image }: ImageStatusRequest): { image?: MessageInitShape<typeof ImageSchema> } {
    const found = this.find(image?.image ?? '');
    return found ? { image: this.#message(found) } : {};
  }

  async pull(request: PullImageRequest): Promise<{ imageRef: string }> {
    const name = fullName(request.image?.image ?? '');
    const image = [...this.registry.values()].find(
      (each) => each.name === name || imageDigest(each) === name,
    );
    await this.#clock.sleep(image?.pullMs ?? 0);
    await image?.gate?.();
    const failed = `failed to pull and unpack image "${name}": failed to resolve reference "${name}"`;
    if (!image) throw new ConnectError(`${failed}: ${name}: not found`, Code.NotFound);
    const { auth } = request;
    const given = auth ? `${auth.username}:${auth.password}` : undefined;
    if (image.credentials !== undefined && image.credentials !== given) {
      throw new ConnectError(
        `${failed}: unexpected status from HEAD request: 401 Unauthorized`,
        Code.Unknown,
      );
    }
    this.add(image);
    this.#pulled.add(image.name);
    return { imageRef: imageId(image) };
  }

  remove({ image }: RemoveImageRequest): object {
    const found = this.find(image?.image ?? '');
    if (found) this.present.delete(found.name);
    return {};
  }

  #message(image: FakeImage): MessageInitShape<typeof ImageSchema> {
    const { user = '' } = image;
    const numeric = /^\d+$/.test(user);
    return {
      id: imageId(image),
      repoTags: [image.name],
      repoDigests: this.#pulled.has(image.name) ? [imageDigest(image)] : [],
      size: BigInt(image.sizeBytes ?? 2_000_000),
      username: numeric ? '' : user,
      pinned: image.pinned ?? false,
      ...(numeric ? { uid: { value: BigInt(user) } } : {}),
    };
  }
}
