import { controlPlaneBinary } from './controlplane/build.ts';

/** The command of upstream's own kube-proxy in iptables mode; flags are the caller's, as for ours. */
export function upstreamCommand(): readonly string[] {
  return [controlPlaneBinary(), 'kube-proxy', '--proxy-mode=iptables'];
}
