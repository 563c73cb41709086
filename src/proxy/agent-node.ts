import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { listInterfaces, ownAddresses, upAddresses } from '../host/interfaces.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Log } from '../telemetry/log.ts';
import { hasRules } from './has-rules.ts';
import { ProxyHealth } from './health.ts';
import { NodeState } from './node-state.ts';

export interface AgentNodeOptions {
  /** What the agent was started with. */
  readonly config: ProxyConfig;
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly log: Log;
}

/** What an agent knows of its node, and how it is. Both follow `current`: the configuration with what was taken up since the start. */
export function openNode(
  { config, tools, clock, log }: AgentNodeOptions,
  current: { readonly config: ProxyConfig },
  nodeName: string,
): { readonly health: ProxyHealth; readonly state: NodeState } {
  const fromCluster = config.source.kind === 'kubernetes';
  const health = new ProxyHealth({
    clock,
    get timeoutMs() {
      return 2 * current.config.syncPeriodMs;
    },
    nodeExpected: fromCluster,
  });
  const state = new NodeState({
    nodeName,
    get settings() {
      return current.config;
    },
    bindAddress: config.bindAddress,
    readInterfaces: hasRules(config)
      ? async (signal) => ownAddresses(await listInterfaces(tools, signal))
      : async () => upAddresses(),
    // A virtual server stands at one address: node ports have one for each. A proxy of sockets has to know where it meets itself.
    rulesNameAddresses: config.mode === 'ipvs' || config.mode === 'userspace',
    addressesFromInterfaces: !fromCluster,
    // Only node ports narrowed to prefixes depend on the interfaces; they then do at each sync.
    get interfacesMaxAgeMs() {
      const { nodePortAddresses, syncPeriodMs } = current.config;
      return nodePortAddresses.kind === 'cidrs' ? 0 : syncPeriodMs;
    },
    clock,
    log,
  });
  return { health, state };
}
