import { SwitchyardError } from '../error.ts';
import type { KubeletStatus } from '../kubelet/admin/kubelet-status.ts';
import type { StatusDocument } from '../proxy/admin/status-document.ts';

/** What an agent answers to the question how it is. */
export type AnyStatus = StatusDocument | KubeletStatus;

/** Whose answer it is: each half of a node has a socket of its own, and only the proxy has families of addresses. */
export function isProxys(status: AnyStatus): status is StatusDocument {
  return 'families' in status;
}

/** The other half of the node than the one that was meant answers at a socket. */
export function wrongHalf(path: string, wanted: 'proxy' | 'kubelet'): SwitchyardError {
  const there = wanted === 'proxy' ? 'kubelet' : 'proxy';
  return new SwitchyardError(
    'usage',
    `the ${there} answers at ${path}, and the ${wanted} is asked`,
    {
      hint: `name the ${wanted}'s own socket by --admin-socket, or leave it out where that is at its usual place`,
    },
  );
}
