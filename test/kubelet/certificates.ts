import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NodeTrust } from '../cluster/control-plane.ts';
import { run } from './node-machine.ts';

/** Paths of two PEM files. */
export interface CertificatePair {
  readonly certificate: string;
  readonly key: string;
}

/** Says nothing of its own: what a certificate has stands on the command line. */
const bareConfig = '[req]\ndistinguished_name = name\nprompt = no\n[name]\n';

/**
 * Three authorities, one for clients, one for what kubelets serve with and one for what the API server passes on, and what they sign: a node
 * has a client certificate `system:node:NAME` and a serving certificate with its address, and no more.
 */
export class Authorities {
  readonly #folder: string;
  readonly #clients: CertificatePair;
  readonly #servers: CertificatePair;
  readonly #frontProxy: CertificatePair;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'bare.cnf'), bareConfig);
    this.#clients = this.#make('client-ca', '/CN=clients', authority);
    this.#servers = this.#make('serving-ca', '/CN=kubelets', authority);
    this.#frontProxy = this.#make('front-proxy-ca', '/CN=front-proxy-ca', authority);
  }

  /** For the API server. */
  trust(): NodeTrust {
    // Bound to system:kubelet-api-admin by the cluster.
    const own = this.#client('apiserver-kubelet-client', `/CN=${apiServerAsClient}`);
    const front = this.#client('front-proxy-client', '/CN=front-proxy-client', this.#frontProxy);
    return {
      clientCa: this.#clients.certificate,
      servingCa: this.#servers.certificate,
      kubeletClientCertificate: own.certificate,
      kubeletClientKey: own.key,
      frontProxyCa: this.#frontProxy.certificate,
      frontProxyCertificate: front.certificate,
      frontProxyKey: front.key,
    };
  }

  /** By these a controller manager signs for kubelets, for so long: `60s`. */
  signingFlags(duration: string): readonly string[] {
    return [
      ...signerFlags('kubelet-client', this.#clients),
      ...signerFlags('kubelet-serving', this.#servers),
      `--cluster-signing-duration=${duration}`,
    ];
  }

  get clientCa(): string {
    return this.#clients.certificate;
  }

  get servingCa(): string {
    return this.#servers.certificate;
  }

  node(name: string): CertificatePair {
    return this.#client(`node-${name}`, `/O=system:nodes/CN=system:node:${name}`);
  }

  serving(name: string, address: string): CertificatePair {
    const usage = [`subjectAltName=DNS:${name},IP:${address}`, 'extendedKeyUsage=serverAuth'];
    const subject = `/O=system:nodes/CN=system:node:${name}`;
    return this.#make(`serving-${name}`, subject, usage, this.#servers);
  }

  #client(file: string, subject: string, by = this.#clients): CertificatePair {
    return this.#make(file, subject, ['extendedKeyUsage=clientAuth'], by);
  }

  #make(
    file: string,
    subject: string,
    extensions: readonly string[],
    by?: CertificatePair,
  ): CertificatePair {
    const certificate = join(this.#folder, `${file}.crt`);
    const key = join(this.#folder, `${file}.key`);
    const made = ['-x509', '-config', join(this.#folder, 'bare.cnf'), '-days', '30', '-nodes'];
    const keys = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout', key];
    const what = ['-subj', subject, '-out', certificate];
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    const signer = by ? ['-CA', by.certificate, '-CAkey', by.key] : [];
    run('openssl', 'req', ...made, ...keys, ...what, ...added, ...signer);
    return { certificate, key };
  }
}

function signerFlags(what: string, { certificate, key }: CertificatePair): readonly string[] {
  return [
    `--cluster-signing-${what}-cert-file=${certificate}`,
    `--cluster-signing-${what}-key-file=${key}`,
  ];
}

/** Whom the API server is for kubelets. */
export const apiServerAsClient = 'kube-apiserver-kubelet-client';

const authority = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
