import { SwitchyardError, errorText } from '../../error.ts';
import { toolCure } from '../../host/run-tool.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { familyLabel } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import { unremoved } from '../cleanup.ts';
import type { CleanupPlan, CleanupScope, Kept, ModeCleanup } from '../cleanup.ts';
import { deleteProxyTable, hasProxyTable, proxyTable } from './proxy-table.ts';

export interface NftablesCleanupParts {
  readonly tools: ToolRunner;
  readonly scope: CleanupScope;
}

const families = ['ipv4', 'ipv6'] as const;

/** Removes what kube-proxy's nftables mode has put in. A kube-proxy that has taken over needs it: then it stays. */
export class NftablesCleanup implements ModeCleanup {
  readonly #parts: NftablesCleanupParts;

  constructor(parts: NftablesCleanupParts) {
    this.#parts = parts;
  }

  async look(signal: AbortSignal): Promise<CleanupPlan> {
    const keeps: Kept[] = [];
    const found = await this.#find(keeps, signal);
    const removes = found.map(
      (family) => `table ${proxyTable} of nftables (${familyLabel(family)})`,
    );
    return { mode: 'nftables', removes, keeps };
  }

  async remove(signal: AbortSignal): Promise<readonly string[]> {
    const failures: string[] = [];
    for (const family of await this.#find([], signal)) {
      try {
        await deleteProxyTable(family, this.#parts.tools, signal);
      } catch (error) {
        failures.push(errorText(error));
      }
    }
    return unremoved(await this.look(signal), failures);
  }

  async #find(keeps: Kept[], signal: AbortSignal): Promise<readonly Family[]> {
    const { tools, scope } = this.#parts;
    if (scope === 'leftovers') return [];
    const found: Family[] = [];
    try {
      for (const family of families) {
        if (await hasProxyTable(family, tools, signal)) found.push(family);
      }
    } catch (error) {
      if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
      const why = `it cannot be looked at: ${error.message}; ${toolCure('nft')}`;
      const what = `table ${proxyTable} of kube-proxy’s nftables mode, if it is there`;
      keeps.push({ what, why, isObstacle: false });
    }
    return found;
  }
}

/** Whether kube-proxy's nftables mode has its table of any family. Without nft there is no knowing, and the answer is no. */
export async function hasAnyProxyTable(tools: ToolRunner, signal: AbortSignal): Promise<boolean> {
  try {
    for (const family of families) {
      if (await hasProxyTable(family, tools, signal)) return true;
    }
    return false;
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'missing') return false;
    throw error;
  }
}
