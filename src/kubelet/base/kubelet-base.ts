import type { MachineFacts } from '../../host/machine-facts.ts';
import type { Mounts } from '../../host/mounts.ts';
import type { KubeletMetrics } from '../../telemetry/kubelet-metrics.ts';
import type { Cri } from '../cri/client.ts';
import type { KubeletEvents } from '../events/kubelet-events.ts';
import type { RuntimeHealth } from '../node/runtime-health.ts';
import type { CredentialProviders } from '../images/credential-providers.ts';
import type { ApiSide } from './api-side.ts';
import type { KubeletOptions } from './kubelet-options.ts';

/** What all parts of a running kubelet share. */
export interface KubeletBase extends KubeletOptions {
  readonly nodeName: string;
  /** Addresses of the node, its primary family first. */
  readonly nodeIps: readonly string[];
  readonly machine: MachineFacts;
  /** The real path of the root directory. */
  readonly rootDir: string;
  readonly mounts: Mounts;
  /** Where links to the logs of all containers are, for those who collect them. */
  readonly containerLogsDir: string;
  readonly cri: Cri;
  readonly health: RuntimeHealth;
  readonly events: KubeletEvents;
  /** undefined: there is no API server. */
  readonly api: ApiSide | undefined;
  readonly metrics: KubeletMetrics;
  /** undefined: none are configured. */
  readonly credentialProviders: Pick<CredentialProviders, 'for'> | undefined;
}
