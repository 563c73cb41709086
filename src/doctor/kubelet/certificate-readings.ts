import type { KubeletConfig } from '../../config/kubelet-config.ts';
import { errorText } from '../../error.ts';
import { readSetting } from '../../host/sysctl.ts';
import { kubeconfigProblem } from '../../informer/node-kubeconfig.ts';
import { pemProblem } from '../../informer/pem.ts';
import { CertificateStore } from '../../kubelet/certificates/certificate-store.ts';
import { readClient } from './client-reading.ts';
import { pairReading } from './pair-reading.ts';
import type { CertificateReading, CertificatesReading, KubeletSubject } from './readings.ts';

/** Reads the files by which a node and the API server know each other; of keys only whether they fit. */
export async function readCertificates(
  subject: KubeletSubject,
  nowMs: number,
): Promise<CertificatesReading> {
  const { config } = subject;
  const { bootstrapKubeconfig } = config.certificates;
  const { clientCaFile } = config.server;
  return {
    nowMs,
    client: config.kubeconfig === '' ? undefined : (await readClient(subject, nowMs)).certificate,
    bootstrap:
      bootstrapKubeconfig === ''
        ? undefined
        : { path: bootstrapKubeconfig, problem: kubeconfigProblem(bootstrapKubeconfig, nowMs) },
    serving: await readServing(config),
    clientCa: clientCaFile === '' ? undefined : await readAuthority(clientCaFile),
  };
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

async function readAuthority(path: string): Promise<NonNullable<CertificatesReading['clientCa']>> {
  try {
    const text = await readSetting(path);
    const problem = text === undefined ? 'is not there' : pemProblem('certificate authority', text);
    return { path, problem };
  } catch (error) {
    return { path, problem: errorText(error) };
  }
}
