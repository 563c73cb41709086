import { readFileSync } from 'node:fs';

import { errorText, SwitchyardError } from '../error.ts';
import type { ExecPlugin } from './exec-plugin.ts';
import { pairProblem, pemProblem } from './pem.ts';
import type { PemKind } from './pem.ts';

/** What a request to the API server is made with. */
export interface Credentials {
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly tls: TlsSettings;
}

/** As `tls.connect` takes them. */
export interface TlsSettings {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

/** Where credentials come from that may change while we run. Paths are absolute. */
export interface CredentialSources {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly plugin?: ExecPlugin | undefined;
  /** Whom to impersonate; lower-case names. */
  readonly impersonation: Readonly<Record<string, string | string[]>>;
}

/** How the API server is reached: by whom it is asked for what it needs, each time it is needed. */
export class ApiAccess {
  readonly server: string;
  /** Undefined: no proxy. */
  readonly proxyUrl: string | undefined;
  readonly #fixed: Credentials;
  readonly #sources: CredentialSources;
  readonly #files = new RotatingFiles();

  /** `credentials` are those that are not in `sources`. */
  constructor(
    access: {
      readonly server: string;
      readonly proxyUrl: string | undefined;
      readonly credentials: Credentials;
    },
    sources: CredentialSources,
  ) {
    this.server = access.server;
    this.proxyUrl = access.proxyUrl;
    this.#fixed = access.credentials;
    this.#sources = sources;
  }

  /** Throws a retryable `source` error that names the file or plugin; `signal` ends a plugin. */
  async credentials(signal: AbortSignal): Promise<Credentials> {
    const { impersonation, tokenFile, plugin } = this.#sources;
    const headers: Record<string, string | string[]> = { ...impersonation };
    if (tokenFile !== undefined) headers['authorization'] = `Bearer ${this.#token(tokenFile)}`;
    Object.assign(headers, this.#fixed.headers);
    const tls: { -readonly [K in keyof TlsSettings]: TlsSettings[K] } = {
      ...this.#fixed.tls,
      ...this.#tlsFiles(),
    };
    if (plugin !== undefined && headers['authorization'] === undefined) {
      const { token, clientCertificateData, clientKeyData } = await plugin.status(signal);
      if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
      if (clientCertificateData !== undefined) tls.cert = clientCertificateData;
      if (clientKeyData !== undefined) tls.key = clientKeyData;
    }
    return { headers, tls };
  }

  #token(path: string): string {
    const [token = ''] = this.#files.read([['token file', path]]);
    return token.trim();
  }

  /** A certificate and its key are of one issue, or TLS refuses them: both are new or none is. */
  #tlsFiles(): { ca?: string; cert?: string; key?: string } {
    const { caFile, certFile, keyFile } = this.#sources;
    const [ca] = caFile === undefined ? [] : this.#files.read([['certificate authority', caFile]]);
    const [cert, key] = this.#files.read([
      ...(certFile === undefined ? [] : [['client certificate', certFile] as const]),
      ...(keyFile === undefined ? [] : [['client key', keyFile] as const]),
    ]);
    const own = certFile === undefined ? { key: cert } : { cert, key };
    const given = Object.entries({ ca, ...own }).filter(([, text]) => text !== undefined);
    return Object.fromEntries(given);
  }
}

type FileKind = PemKind | 'token file';

/** Reads files for each request, so that new ones count at once; while one is lost the last ones do. */
class RotatingFiles {
  readonly #last = new Map<string, readonly string[]>();

  /** The texts of files that belong together, each with what it is: a certificate comes before its key. */
  read(files: readonly (readonly [FileKind, string])[]): readonly string[] {
    const id = files.map(([, path]) => path).join('\0');
    try {
      const texts = files.map(([kind, path]) => readUsable(kind, path));
      const [cert, key] = texts;
      if (cert !== undefined && key !== undefined) {
        reject(`client key ${files[1]?.[1]}`, pairProblem(cert, key));
      }
      this.#last.set(id, texts);
      return texts;
    } catch (error) {
      const last = this.#last.get(id);
      if (last !== undefined) return last;
      throw error;
    }
  }
}

function readUsable(kind: FileKind, path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const message = `${kind} ${path}: ${errorText(error)}`;
    throw new SwitchyardError('source', message, { cause: error, retryable: true });
  }
  const isEmpty = text.trim() === '';
  if (kind !== 'token file') reject(`${kind} ${path}`, pemProblem(kind, text));
  else reject(`${kind} ${path}`, isEmpty ? 'is empty' : undefined);
  return text;
}

function reject(what: string, problem: string | undefined): void {
  if (problem === undefined) return;
  throw new SwitchyardError('source', `${what}: ${problem}`, { retryable: true });
}
