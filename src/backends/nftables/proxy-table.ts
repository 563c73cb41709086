import { SwitchyardError } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Family } from '../../ip/address.ts';

/** The table of kube-proxy's nftables mode, one a family. */
export const proxyTable = 'kube-proxy';

const timeoutMs = 10_000;
const nftFamily = { ipv4: 'ip', ipv6: 'ip6' } as const satisfies Record<Family, string>;

/** Whether the kernel has the table. Rejects with code `missing` where there is no nft to ask. */
export async function hasProxyTable(
  family: Family,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<boolean> {
  const args = ['list', 'tables', nftFamily[family]];
  const { stdout } = await tools.run('nft', args, { timeoutMs, signal });
  // A kernel without nf_tables is an error of the tool's, and has none.
  return stdout.split('\n').includes(`table ${nftFamily[family]} ${proxyTable}`);
}

/** Removes the table with all that is in it, at once. Connections that it has translated go on. */
export async function deleteProxyTable(
  family: Family,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<void> {
  const args = ['delete', 'table', nftFamily[family], proxyTable];
  const { exitCode, stderr } = await tools.run('nft', args, { timeoutMs, signal });
  if (exitCode === 0 || !(await hasProxyTable(family, tools, signal))) return;
  throw new SwitchyardError('tool', `nft ${args.join(' ')} failed: ${stderr.trim()}`, {
    retryable: true,
  });
}
