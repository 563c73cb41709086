import type { KubeletConfig } from '../../config/kubelet-config.ts';
import { errorText, isAbsent } from '../../error.ts';
import { readSetting } from '../../host/sysctl.ts';
import { kubeconfigPair, kubeconfigProblem } from '../../informer/node-kubeconfig.ts';
import { pemProblem } from '../../informer/pem.ts';
import { CertificateStore, readPair } from '../../kubelet/certificates/certificate-store.ts';
import type { CertificateReading, CertificatesReading } from './readings.ts';

/** Reads the files by which a node and the API server know each other; of keys only whether they fit. */
export async function readCertificates(
  config: KubeletConfig,
  nowMs: number,
): Promise<CertificatesReading> {
  const { bootstrapKubeconfig } = config.certificates;
  const { clientCaFile } = config.server;
  return {
    nowMs,
    client: config.kubeconfig === '' ? undefined : readClient(config.kubeconfig),
    bootstrap:
      bootstrapKubeconfig === ''
        ? undefined
        : { path: bootstrapKubeconfig, problem: kubeconfigProblem(bootstrapKubeconfig, nowMs) },
    serving: await readServing(config),
    clientCa: clientCaFile === '' ? undefined : await readAuthority(clientCaFile),
  };
}

function readClient(path: string): CertificateReading | undefined {
  try {
    const pair = kubeconfigPair(path);
    return pair && pairReading(path, pair.cert, pair.key);
  } catch (error) {
    const isThere = !isAbsent(error) && !isAbsent(error instanceof Error ? error.cause : undefined);
    return isThere
      ? { kind: 'unusable', path, problem: errorText(error) }
      : { kind: 'absent', path };
  }
}

async function readServing({
  server,
  certificates,
  certDir,
}: KubeletConfig): Promise<CertificateReading | undefined> {
  if (server.bind === undefined) return undefined;
  if (certificates.serving) {
    const { currentPath } = new CertificateStore(certDir, 'kubelet-server');
    return readFiles(currentPath, currentPath);
  }
  return server.certFile === '' ? undefined : readFiles(server.certFile, server.keyFile);
}

async function readFiles(certPath: string, keyPath: string): Promise<CertificateReading> {
  try {
    const [cert, key] = await Promise.all([readSetting(certPath), readSetting(keyPath)]);
    if (cert === undefined) return { kind: 'absent', path: certPath };
    if (key === undefined) return { kind: 'absent', path: keyPath };
    return pairReading(certPath, cert, key);
  } catch (error) {
    return { kind: 'unusable', path: certPath, problem: errorText(error) };
  }
}

function pairReading(path: string, cert: string, key: string): CertificateReading {
  const pair = readPair(cert, key);
  if (pair === undefined)
    return { kind: 'unusable', path, problem: 'holds no certificate in PEM with the key of it' };
  const { notBeforeMs, notAfterMs, parsed } = pair;
  const subject = parsed.subject.split('\n').join(', ');
  return { kind: 'good', path, notBeforeMs, notAfterMs, subject };
}

async function readAuthority(path: string): Promise<NonNullable<CertificatesReading['clientCa']>> {
  try {
    const text = await readSetting(path);
    const problem = text === undefined ? 'is not there' : pemProblem('certificate authority', text);
    return { path, problem };
  } catch (error) {
    return { path, problem: errorText(error) };
  }
}
