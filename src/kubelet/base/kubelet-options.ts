import type { Clock } from '../../clock.ts';
import type { KubeletConfig } from '../../config/kubelet-config.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { ConnectApi } from '../../informer/api-connection.ts';
import type { Log } from '../../telemetry/log.ts';

/** What the kubelet needs of the machine and the process. */
export interface KubeletOptions {
  readonly config: KubeletConfig;
  /** The same as a file would have it, for /configz. */
  readonly configz: object;
  /** The machine's host name. */
  readonly hostname: string;
  readonly version: string;
  /** The unix socket at which the operator asks; '': there is none. */
  readonly adminSocket: string;
  readonly tools: ToolRunner;
  /** To the API server, where there is one. */
  readonly connect: ConnectApi;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}
