import { errorText, isAbsent } from '../../error.ts';
import { kubeconfigPair } from '../../informer/node-kubeconfig.ts';
import type { KubeconfigPair } from '../../informer/node-kubeconfig.ts';
import { readPair } from '../../kubelet/certificates/certificate-store.ts';
import { countingClient } from '../../kubelet/certificates/client-certificate.ts';
import { clientStore } from '../../kubelet/certificates/client-store.ts';
import { pairReading } from './pair-reading.ts';
import type { CertificateReading, KubeletSubject } from './readings.ts';

/** By what the kubelet would be known to the API server. */
export interface ClientReading {
  /** undefined: by none, but by something else. */
  readonly certificate: CertificateReading | undefined;
  /** The file that counts more than the kubeconfig's certificate; undefined: none does. */
  readonly file?: string;
}

/** Looks at the certificate of the kubeconfig, and at the one that came after it, and chooses as the kubelet does at its start. */
export async function readClient(
  { config, nodeName }: KubeletSubject,
  nowMs: number,
): Promise<ClientReading> {
  const { kubeconfig, certDir, certificates } = config;
  let pair: KubeconfigPair | undefined;
  try {
    pair = kubeconfigPair(kubeconfig);
  } catch (error) {
    return { certificate: unread(kubeconfig, error) };
  }
  if (pair === undefined) return { certificate: undefined };
  const own = { certificate: pairReading(kubeconfig, pair.cert, pair.key) };
  if (!certificates.rotateClient) return own;
  const store = clientStore(certDir);
  const { currentPath: file } = store;
  try {
    const kept = await store.current();
    const given = readPair(pair.cert, pair.key);
    if (kept === undefined || countingClient({ given, kept }, nodeName, nowMs) !== kept) return own;
    return { certificate: pairReading(file, kept.cert, kept.key), file };
  } catch (error) {
    return { certificate: { kind: 'unusable', path: file, problem: errorText(error) } };
  }
}

function unread(path: string, error: unknown): CertificateReading {
  const isThere = !isAbsent(error) && !isAbsent(error instanceof Error ? error.cause : undefined);
  return isThere ? { kind: 'unusable', path, problem: errorText(error) } : { kind: 'absent', path };
}
