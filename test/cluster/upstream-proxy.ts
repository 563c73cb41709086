import { controlPlaneBinary } from './controlplane/build.ts';

/** The command of upstream's own kube-proxy; further flags are the caller's, as for ours. */
export function upstreamCommand(
  mode: 'iptables' | 'ipvs' | 'nftables' = 'iptables',
): readonly string[] {
  return [controlPlaneBinary(), 'kube-proxy', `--proxy-mode=${mode}`];
}
