import { X509Certificate, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { KeptFile } from '../../host/kept-file.ts';

/** A certificate with its key, in PEM, and what it says of itself. */
export interface KeptCertificate {
  /** The certificate, and after it the chain where one came along. */
  readonly cert: string;
  readonly key: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly parsed: X509Certificate;
}

/** Besides the current one, this many are left lying: for somebody who has to look back. */
const formerKept = 1;

/**
 * The certificates of one purpose in a folder, as upstream's kubelet lays them out: `NAME-DATE.pem` holds certificate and key, the link
 * `NAME-current.pem` leads to what counts. The key of a request that is not answered yet is in `NAME.key.tmp`.
 */
export class CertificateStore {
  readonly #folder: string;
  readonly #name: string;

  /** `name`: `kubelet-client`. */
  constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  /** The path that always leads to the certificate that counts. */
  get currentPath(): string {
    return join(this.#folder, `${this.#name}-current.pem`);
  }

  /** undefined where there is none, or none that can be used. */
  async current(): Promise<KeptCertificate | undefined> {
    const text = await secretFile(this.currentPath).read();
    return text === undefined ? undefined : readPair(text, text);
  }

  /** Makes it the one that counts: a reader finds the former one or this one, whole. */
  async keep(cert: string, key: KeyObject, nowMs: number): Promise<void> {
    const file = `${this.#name}-${dateText(nowMs)}.pem`;
    await secretFile(join(this.#folder, file)).write(`${cert.trim()}\n${keyText(key)}`);
    const link = `${this.currentPath}.new`;
    await rm(link, { force: true });
    await symlink(file, link);
    await rename(link, this.currentPath);
    await this.#removeFormer(file);
  }

  /** The key that a request was, or will be, made with; made where there is none yet. It stays until {@link dropPendingKey}. */
  async pendingKey(): Promise<KeyObject> {
    const file = secretFile(this.#pendingPath);
    const kept = await file.read();
    const key = kept === undefined ? undefined : privateKey(kept);
    if (key?.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
    const { privateKey: made } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await file.write(keyText(made));
    return made;
  }

  async dropPendingKey(): Promise<void> {
    await rm(this.#pendingPath, { force: true });
  }

  get #pendingPath(): string {
    return join(this.#folder, `${this.#name}.key.tmp`);
  }

  /** Upstream lets them lie for ever. */
  async #removeFormer(current: string): Promise<void> {
    const dated = /^-\d{4}(?:-\d\d){5}\.pem$/;
    const files = (await readdir(this.#folder))
      .filter((each) => each.startsWith(this.#name) && dated.test(each.slice(this.#name.length)))
      .filter((each) => each < current)
      .toSorted();
    for (const each of files.slice(0, -formerKept))
      await rm(join(this.#folder, each), { force: true });
  }
}

/** PEM of a key, as upstream writes it. */
function keyText(key: KeyObject): string {
  return key.export({ type: 'sec1', format: 'pem' }).toString();
}

/** undefined where the texts hold no certificate, or no key of it. */
export function readPair(certText: string, keyPem: string): KeptCertificate | undefined {
  const key = privateKey(keyPem);
  const cert = certificates(certText);
  const parsed = parseCertificate(cert);
  if (key === undefined || parsed === undefined || !parsed.checkPrivateKey(key)) return undefined;
  const [notBeforeMs, notAfterMs] = [Date.parse(parsed.validFrom), Date.parse(parsed.validTo)];
  return { cert, key: keyBlock(keyPem), notBeforeMs, notAfterMs, parsed };
}

/** Whether it is still good, and says that its owner is `commonName`. */
export function isUsableBy(
  commonName: string,
  { notAfterMs, parsed }: KeptCertificate,
  nowMs: number,
): boolean {
  return notAfterMs > nowMs && parsed.subject.split('\n').includes(`CN=${commonName}`);
}

/** All blocks of certificates in a text. */
function certificates(text: string): string {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((each) => `${each}\n`).join('');
}

function keyBlock(text: string): string {
  const [block = ''] =
    /-----BEGIN (?:EC |RSA )?PRIVATE KEY-----[^-]*-----END (?:EC |RSA )?PRIVATE KEY-----/.exec(
      text,
    ) ?? [];
  return `${block}\n`;
}

function privateKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(keyBlock(text));
  } catch {
    return undefined;
  }
}

function parseCertificate(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(text);
  } catch {
    return undefined;
  }
}

/** A file for its owner alone, there whole or not at all, also after a loss of power. */
export function secretFile(path: string): KeptFile {
  return new KeptFile(path, { mode: 0o600, folderMode: 0o755, isSynced: true });
}

/** `2026-01-31-14-05-09`, in UTC. */
function dateText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replaceAll(/[T:]/g, '-');
}
