import { ipvsModeChains } from './ipvs-names.ts';
import type { TableName } from './state.ts';
import { chains } from './static-rules.ts';
import { userspaceGuard } from './userspace-names.ts';

/** The chains of fixed name of all modes, as kube-proxy has them, but for KUBE-FIREWALL, which is the kubelet's too. */
export const fixedChains: Readonly<Record<TableName, readonly string[]>> = {
  filter: [
    chains.services,
    chains.externalServices,
    chains.forward,
    chains.nodePorts,
    chains.proxyFirewall,
    chains.canary,
    userspaceGuard,
    ...ipvsModeChains.filter,
  ],
  nat: [
    chains.services,
    chains.nodePorts,
    chains.postrouting,
    chains.markMasq,
    chains.canary,
    ...ipvsModeChains.nat,
  ],
  mangle: [chains.canary, ...ipvsModeChains.mangle],
};

/** By their comments; KUBE-FIREWALL's have none. */
const jumpPattern =
  /^(?:! -i lo )?(?:-m conntrack --ctstate NEW )?-m comment --comment "(?:kubernetes|kube-proxy) [^"]*"(?: -m conntrack --ctstate NEW)? -j KUBE-\S+$/;

/** Whether a rule's arguments are a jump of Switchyard or of kube-proxy, of any version and mode. */
export function isProxyJump(args: string): boolean {
  return jumpPattern.test(args);
}
