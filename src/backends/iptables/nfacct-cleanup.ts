import { SwitchyardError } from '../../error.ts';
import { readCountedPackets, removeCountingObject } from '../../host/nfacct.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { nfacctMetrics } from '../../telemetry/kernel-metrics.ts';
import type { CountingObject } from '../../telemetry/kernel-metrics.ts';
import { unremoved } from '../cleanup.ts';
import type { CleanupPlan, ModeCleanup } from '../cleanup.ts';

const objects = nfacctMetrics.map(({ object }) => object);

/**
 * Removes the objects that rules have counted packets in, Switchyard's or kube-proxy's. To come after the rules: the kernel keeps
 * what is used. Without the tool nothing shows them; they cost nothing.
 */
export class NfacctCleanup implements ModeCleanup {
  readonly #tools: ToolRunner;

  constructor(tools: ToolRunner) {
    this.#tools = tools;
  }

  async look(signal: AbortSignal): Promise<CleanupPlan> {
    const removes: string[] = [];
    for (const object of objects) {
      if (await this.#isThere(object, signal)) removes.push(`nfacct object ${object}`);
    }
    return { mode: 'iptables', removes, keeps: [] };
  }

  async remove(signal: AbortSignal): Promise<readonly string[]> {
    for (const object of objects) {
      if (await this.#isThere(object, signal)) {
        await removeCountingObject(this.#tools, object, signal);
      }
    }
    return unremoved(await this.look(signal), []);
  }

  async #isThere(object: CountingObject, signal: AbortSignal): Promise<boolean> {
    try {
      return (await readCountedPackets(this.#tools, object, signal)) !== undefined;
    } catch (error) {
      if (error instanceof SwitchyardError && error.code === 'missing') return false;
      throw error;
    }
  }
}
