import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FakeApiServer, RawObject } from '../../../support/fake-api-server.ts';

export const requestsPath = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

interface Condition {
  readonly type: string;
  readonly reason?: string;
  readonly message?: string;
}

/** An authority of OpenSSL's that does with the requests at an API server what a test says. */
export class Signer {
  readonly #folder: string;
  readonly #server: FakeApiServer;

  constructor(folder: string, server: FakeApiServer) {
    this.#folder = folder;
    this.#server = server;
    const subject = ['-subj', '/CN=signer', '-days', '3650', '-nodes'];
    const keys = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    openssl(
      '',
      'req',
      '-x509',
      ...keys,
      ...subject,
      '-keyout',
      this.#file('ca.key'),
      '-out',
      this.#file('ca.crt'),
    );
  }

  /** All requests that nobody has decided on. */
  get waiting(): readonly RawObject[] {
    return this.#server.objects(requestsPath).filter(({ status }) => status === undefined);
  }

  /** Approves and signs the request that waits; gives the certificate. */
  approve(request: RawObject | undefined = this.waiting[0], days = 10): string {
    const cert = this.issue(pemOf(request), days);
    this.#decide(request, { type: 'Approved' }, cert);
    return cert;
  }

  /** Says something else of it. */
  decide(condition: Condition, cert?: string): void {
    this.#decide(this.waiting[0], condition, cert);
  }

  /** A certificate for a request in PEM. */
  issue(pem: string, days = 10): string {
    const signer = ['-CA', this.#file('ca.crt'), '-CAkey', this.#file('ca.key'), '-CAcreateserial'];
    return openssl(
      pem,
      'x509',
      '-req',
      '-days',
      String(days),
      '-copy_extensions',
      'copy',
      ...signer,
    );
  }

  #decide(request: RawObject | undefined, condition: Condition, cert?: string): void {
    if (request === undefined) throw new Error('no request waits');
    const certificate =
      cert === undefined ? {} : { certificate: Buffer.from(cert).toString('base64') };
    const status = { conditions: [{ status: 'True', ...condition }], ...certificate };
    this.#server.put(requestsPath, { ...request, status });
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }
}

/** The request itself, as it was asked for. */
export function pemOf(request: RawObject | undefined): string {
  const { request: data } = (request?.['spec'] ?? {}) as { readonly request?: string };
  return Buffer.from(data ?? '', 'base64').toString('utf8');
}

function openssl(input: string, ...args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync('openssl', args, { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** A bootstrap kubeconfig of this server. */
export function writeBootstrapKubeconfig(file: string, server: string): void {
  const value = {
    'current-context': 'bootstrap',
    clusters: [{ name: 'c', cluster: { server } }],
    users: [{ name: 'u', user: { token: 'abcdef.0123456789abcdef' } }],
    contexts: [{ name: 'bootstrap', context: { cluster: 'c', user: 'u' } }],
  };
  writeFileSync(file, JSON.stringify(value));
}
