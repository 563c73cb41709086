import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError } from '../error.ts';
import { conntrackUsage } from '../host/conntrack.ts';
import { readCountedPackets } from '../host/nfacct.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { ReadCountedPackets, CountingObject } from '../telemetry/kernel-metrics.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';

/** Metrics that are read from the kernel when somebody asks for them. */
export function measureKernel(
  metrics: Pick<ProxyMetrics, 'collectConntrack' | 'collectCountedPackets'>,
  { config, tools }: { readonly config: ProxyConfig; readonly tools: ToolRunner },
): void {
  metrics.collectConntrack(async () => conntrackUsage().catch(() => undefined));
  metrics.collectCountedPackets(config.mode === 'iptables' ? packetReader(tools) : undefined);
}

/**
 * A tool that is not there is not asked for again; one that fails has nothing to say this time. Who asks while it runs has
 * its answer too: however many ask, no more than one runs for an object.
 */
export function packetReader(tools: ToolRunner): ReadCountedPackets {
  let isMissing = false;
  const running = new Map<CountingObject, Promise<number | undefined>>();
  const read = async (object: CountingObject): Promise<number | undefined> => {
    try {
      return await readCountedPackets(tools, object, new AbortController().signal);
    } catch (error) {
      isMissing = error instanceof SwitchyardError && error.code === 'missing';
      return undefined;
    } finally {
      running.delete(object);
    }
  };
  return async (object) => {
    if (isMissing) return undefined;
    const shared = running.get(object) ?? read(object);
    running.set(object, shared);
    return shared;
  };
}
