import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { FakeImages } from '../../support/fake-cri/fake-images.ts';
import { busyboxImage } from '../images.ts';
import type { BuiltImage } from '../images.ts';
import type { NodeMachine } from '../node-machine.ts';

/** How an image is given out. */
export interface Offer {
  /** `user:password` that a pull needs. */
  readonly credentials?: string;
  /** A pull waits for it. */
  readonly gate?: () => Promise<void>;
}

/** Where nodes pull images from. */
export interface Registry {
  /** `10.89.0.1:5000`. */
  readonly host: string;
  /** Lets pulls find an image of busybox; `name`: without the registry, with its tag. */
  offer(name: string, offer?: Offer): void;
}

/** That of a runtime in memory. */
export class MemoryRegistry implements Registry {
  readonly host = '10.89.0.1:5001';
  readonly #images: FakeImages;

  constructor(images: FakeImages) {
    this.#images = images;
  }

  offer(name: string, offer: Offer = {}): void {
    this.#images.offer({ name: `${this.host}/${name}`, command: ['sh'], ...offer });
  }
}

interface Offered extends Offer {
  readonly image: BuiltImage;
}

/** A registry that real runtimes pull from, by the distribution protocol without TLS. */
export class ServedRegistry implements Registry {
  readonly #address: string;
  /** By name with tag. */
  readonly #offers = new Map<string, Offered>();
  readonly #server = createServer((asked, answer) => {
    void this.#answer(asked, answer);
  });

  constructor(address: string) {
    this.#address = address;
  }

  get host(): string {
    return `${this.#address}:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    await once(this.#server.listen(0, this.#address), 'listening');
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Lets a node's runtime know that there is no TLS. */
  introduce({ folder }: NodeMachine): void {
    const of = join(folder, 'certs.d', this.host);
    mkdirSync(of, { recursive: true });
    const url = `http://${this.host}`;
    const hosts = `server = "${url}"\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`;
    writeFileSync(join(of, 'hosts.toml'), hosts);
  }

  offer(name: string, offer: Offer = {}): void {
    const image = busyboxImage(`${this.host}/${name}`, { Labels: { name } });
    this.#offers.set(name, { ...offer, image });
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = asked.url?.split('?', 1)[0] ?? '';
    const found = /^\/v2\/(?<name>.+)\/(?<kind>manifests|blobs)\/(?<ref>[^/]+)$/.exec(path)?.groups;
    const { name = '', kind = '', ref = '' } = found ?? {};
    const offered = this.#offerOf(name, kind, ref);
    if (offered === undefined) {
      answer.writeHead(404).end();
      return;
    }
    if (!mayPull(offered, asked)) {
      answer.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
      return;
    }
    await offered.gate?.();
    give(answer, asked.method === 'HEAD', contentOf(offered, kind, ref));
  }

  #offerOf(name: string, kind: string, ref: string): Offered | undefined {
    const ofName = [...this.#offers].filter(([each]) => each.startsWith(`${name}:`));
    if (kind === 'blobs') return ofName.find(([, { image }]) => hasBlob(image, ref))?.[1];
    return ofName.find(
      ([each, { image }]) => each === `${name}:${ref}` || image.manifestDigest === ref,
    )?.[1];
  }
}

interface Content {
  readonly type: string;
  readonly digest: string;
  readonly body: Buffer | undefined;
}

function contentOf({ image }: Offered, kind: string, ref: string): Content {
  const { manifest, manifestDigest, blobs } = image;
  return kind === 'manifests'
    ? { type: manifestType, digest: manifestDigest, body: manifest }
    : { type: 'application/octet-stream', digest: ref, body: blobs.get(ref.slice(sha.length)) };
}

function give(answer: ServerResponse, isHead: boolean, { type, digest, body }: Content): void {
  answer.writeHead(200, {
    'content-type': type,
    'content-length': body?.length ?? 0,
    'docker-content-digest': digest,
  });
  answer.end(isHead ? undefined : body);
}

function mayPull({ credentials }: Offer, { headers }: IncomingMessage): boolean {
  if (credentials === undefined) return true;
  return headers.authorization === `Basic ${Buffer.from(credentials).toString('base64')}`;
}

const sha = 'sha256:';
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

function hasBlob({ blobs }: BuiltImage, ref: string): boolean {
  return blobs.has(ref.slice(sha.length));
}
