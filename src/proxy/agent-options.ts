import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import type { NodeRecordFile } from '../host/node-record.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { ConnectApi } from '../informer/api-connection.ts';
import type { Log } from '../telemetry/log.ts';
import type { Verbosity } from '../telemetry/profiling.ts';

/** What the agent needs of the machine and the process. */
export interface AgentOptions {
  readonly config: ProxyConfig;
  /** The machine's host name. */
  readonly hostname: string;
  readonly version: string;
  readonly tools: ToolRunner;
  readonly sysctls: Sysctls;
  /** What is changed besides rules. */
  readonly record: Pick<NodeRecordFile, 'noteFirewall' | 'read'>;
  /** To the API server, where objects come from one. */
  readonly connect: ConnectApi;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** For what an operator asked to see, beside the log. */
  readonly print: (text: string) => void;
  /** Called once, when the first rules of all families are written: what the start needed is garbage now. */
  readonly onFirstRules: () => void;
  /** The KubeProxyConfiguration in effect, for /configz. */
  readonly effectiveConfig?: () => object;
  /** `name=value` of each flag, for /flagz. */
  readonly flagLines?: readonly string[];
  /** How much is logged, for /debug/flags/v. */
  readonly verbosity?: Verbosity;
}

/** How an agent starts. */
export interface AgentStart {
  /**
   * Where another one runs in this process: ends the work of that one. Called once, when all that can keep this one from its
   * own is behind it; until it resolves this one writes no rule and answers nobody.
   */
  readonly takeOver?: () => Promise<void>;
}

/** How an agent ends; left out: with its process. */
export interface AgentEnd {
  /** How long connections that it carries itself may last. */
  readonly withinMs: number;
  /** Cuts that short. */
  readonly hurry: AbortSignal;
}
