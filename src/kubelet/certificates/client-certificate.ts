import { isUsableBy } from './certificate-store.ts';
import type { KeptCertificate } from './certificate-store.ts';
import type { SigningWish } from './signing.ts';

/** Who a node is to the API server. */
export function clientWish(nodeName: string): SigningWish {
  return {
    signer: 'kubernetes.io/kube-apiserver-client-kubelet',
    subject: {
      organization: 'system:nodes',
      commonName: `system:node:${nodeName}`,
      names: [],
    },
  };
}

/** What a node may be known by to the API server; undefined: there is none, or none that can be used. */
export interface ClientCandidates {
  /** That of the kubeconfig. */
  readonly given: KeptCertificate | undefined;
  /** The one that was signed after it, in the node's own folder. */
  readonly kept: KeptCertificate | undefined;
}

/** Whether a certificate is good, and this node's. */
export function isOwnClient(
  certificate: KeptCertificate | undefined,
  nodeName: string,
  nowMs: number,
): certificate is KeptCertificate {
  const { commonName } = clientWish(nodeName).subject;
  return certificate !== undefined && isUsableBy(commonName, certificate, nowMs);
}

/** The one that counts: the later of those that are good, for an operator may have put a newer kubeconfig there. */
export function countingClient(
  { given, kept }: ClientCandidates,
  nodeName: string,
  nowMs: number,
): KeptCertificate | undefined {
  const usable = [given, kept].filter((each) => isOwnClient(each, nodeName, nowMs));
  return usable.toSorted((a, b) => b.notBeforeMs - a.notBeforeMs)[0] ?? kept ?? given;
}
