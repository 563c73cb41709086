import { CertificateStore } from './certificate-store.ts';

/** Where the client certificate of a node is kept, under upstream's name. */
export function clientStore(certDir: string): CertificateStore {
  return new CertificateStore(certDir, 'kubelet-client');
}
