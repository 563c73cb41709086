import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';

import type { KubeConfig } from '@kubernetes/client-node';

import { errorText, SwitchyardError } from '../error.ts';
import type { ExecPlugin } from './exec-plugin.ts';

/** What a request to the API server is made with. */
export interface Credentials {
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly tls: TlsSettings;
}

/** As `tls.connect` takes them. */
export interface TlsSettings {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
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
  readonly #config: KubeConfig;
  readonly #sources: CredentialSources;
  readonly #files = new RotatingFiles();

  /** `config` holds all that is not in `sources`. */
  constructor(config: KubeConfig, proxyUrl: string | undefined, sources: CredentialSources) {
    this.server = config.getCurrentCluster()?.server ?? '';
    this.proxyUrl = proxyUrl;
    this.#config = config;
    this.#sources = sources;
  }

  /** Throws a retryable `source` error that names the file or plugin; `signal` ends a plugin. */
  async credentials(signal: AbortSignal): Promise<Credentials> {
    const { impersonation, tokenFile, plugin } = this.#sources;
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const headers: Record<string, string | string[]> = { ...impersonation };
    if (tokenFile !== undefined) headers['authorization'] = `Bearer ${this.#token(tokenFile)}`;
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      headers[name.toLowerCase()] = String(value).trim();
    }
    if (typeof options.auth === 'string') {
      headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    }
    const { ca, cert, key, servername, rejectUnauthorized } = options;
    const tls = { ca, cert, key, servername, rejectUnauthorized, ...this.#tlsFiles() };
    if (plugin !== undefined && headers['authorization'] === undefined) {
      const status = await plugin.status(signal);
      if (status.token !== undefined) headers['authorization'] = `Bearer ${status.token}`;
      tls.cert = status.clientCertificateData ?? tls.cert;
      tls.key = status.clientKeyData ?? tls.key;
    }
    const given = Object.entries(tls).filter(([, value]) => value !== undefined);
    return { headers, tls: Object.fromEntries(given) };
  }

  #token(path: string): string {
    const [token = ''] = this.#files.read([['token file', path]], (text) => text.trim() !== '');
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

/** Reads files for each request, so that new ones count at once; while one is lost the last ones do. */
class RotatingFiles {
  readonly #last = new Map<string, readonly string[]>();

  /** The texts of files that belong together, each with what it is. */
  read(
    files: readonly (readonly [string, string])[],
    usable: (text: string) => boolean = (text) => text !== '',
  ): readonly string[] {
    const id = files.map(([, path]) => path).join('\0');
    try {
      const texts = files.map(([name, path]) => readUsable(name, path, usable));
      this.#last.set(id, texts);
      return texts;
    } catch (error) {
      const last = this.#last.get(id);
      if (last !== undefined) return last;
      throw error;
    }
  }
}

function readUsable(name: string, path: string, usable: (text: string) => boolean): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const message = `${name} ${path}: ${errorText(error)}`;
    throw new SwitchyardError('source', message, { cause: error, retryable: true });
  }
  if (usable(text)) return text;
  throw new SwitchyardError('source', `${name} ${path}: is empty`, { retryable: true });
}
