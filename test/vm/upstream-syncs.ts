import type { TwinCluster } from '../upstream/twin-cluster.ts';
import { eventually } from '../support/node-lab.ts';
import type { NodeLab } from '../support/node-lab.ts';

const families = ['IPv4', 'IPv6'] as const;
const metrics = 'http://127.0.0.1:10249/metrics';
/** Two of its periods, of which each may be a minute late here. */
const withinMs = 60_000;

/**
 * Resolves when kube-proxy's syncs of both families have ended twice from now on: one of them may have been under way, and in
 * this mode rules, sets and sources' masquerade come long after the virtual servers.
 */
export async function upstreamHasSynced(cluster: TwinCluster): Promise<void> {
  const lab = cluster.twins.labs.upstream;
  for (let round = 0; round < 2; round++) {
    const before = await lastSyncs(lab);
    await eventually(
      async () => lastSyncs(lab),
      (now) => families.every((_, at) => (now[at] ?? 0) > (before[at] ?? 0)),
      withinMs,
    );
  }
}

/** When the last sync of each family ended, in seconds. */
async function lastSyncs(lab: NodeLab): Promise<readonly number[]> {
  const { body } = await lab.get('node', metrics);
  return families.map((family) => {
    const line = new RegExp(
      `^kubeproxy_sync_proxy_rules_last_timestamp_seconds\\{ip_family="${family}"\\} (\\S+)$`,
      'm',
    );
    return Number(line.exec(body)?.[1] ?? 0);
  });
}
