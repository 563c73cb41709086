import { BackendAround } from '../backends/backend-around.ts';
import type { Backend } from '../backends/backend.ts';
import { deleteProxyTable, hasProxyTable, proxyTable } from '../backends/nftables/proxy-table.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';

/** A tool that hangs must not hold up each sync. */
const mostTries = 5;

/**
 * A mode on a node that may come from kube-proxy's nftables mode: its table translates on until the first rules are in,
 * and then goes, since it would lead to endpoints that are gone. Connections that it has begun live on, for connection tracking
 * knows where they go.
 */
export class AfterNftables extends BackendAround {
  readonly #family: Family;
  readonly #tools: ToolRunner;
  readonly #log: Log;
  readonly #settled: Set<Family>;
  #triesLeft = mostTries;

  /** `settled`: the families in which it is found that there is none, or in which it has gone. It does not come back but by a kube-proxy that runs. */
  constructor(
    backend: Backend,
    family: Family,
    tools: ToolRunner,
    log: Log,
    settled = new Set<Family>(),
  ) {
    super(backend);
    this.#family = family;
    this.#tools = tools;
    this.#log = log;
    this.#settled = settled;
  }

  override async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
    const report = await super.sync(...args);
    if (this.#triesLeft > 0 && !this.#settled.has(this.#family)) await this.#remove(args[2]);
    return report;
  }

  /** Our rules are in: what fails here is told, and tried again after the next syncs. */
  async #remove(signal: AbortSignal): Promise<void> {
    this.#triesLeft--;
    const family = this.#family;
    const label = familyLabel(family);
    try {
      if (await hasProxyTable(family, this.#tools, signal)) {
        await deleteProxyTable(family, this.#tools, signal);
        this.#log.info(
          { family },
          `kube-proxy’s nftables mode ran here: its table is removed (${label})`,
        );
      }
      this.#settled.add(family);
    } catch (error) {
      // Without the tool nobody can tell, and most nodes without it never had one.
      const isMissing = error instanceof SwitchyardError && error.code === 'missing';
      if (isMissing) this.#triesLeft = 0;
      if (isMissing || signal.aborted) return;
      const hint = `end kube-proxy if it runs, and remove the table: nft delete table ${family === 'ipv4' ? 'ip' : 'ip6'} ${proxyTable}`;
      this.#log.warn(
        { family, hint },
        `what kube-proxy’s nftables mode has left is still in force (${label}): ${errorText(error)}`,
      );
    }
  }
}
