import { SwitchyardError } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Family } from '../../ip/address.ts';
import { complaintOf } from './complaint.ts';
import { parseServerList } from './kernel-table.ts';
import type { ObservedServers, ServerKeys } from './kernel-table.ts';

/** The tool asks the kernel once for each virtual server. */
const timeoutMs = 300_000;

/**
 * What the kernel has of a family or of both, or of some servers, from `ipvsadm`: it leaves nothing out, as the kernel's own
 * table may, and takes ten times as long. Loads ip_vs where it can be loaded.
 */
export async function listServers(
  family: Family | 'both',
  tools: ToolRunner,
  signal: AbortSignal,
  only?: ServerKeys,
): Promise<ObservedServers> {
  const args = ['--list', '--numeric'];
  const result = await tools.run('ipvsadm', args, { timeoutMs, signal });
  const { words = [] } = complaintOf(result) ?? {};
  if (words.length > 0) {
    throw new SwitchyardError('tool', `ipvsadm ${args.join(' ')} failed: ${words.join('; ')}`, {
      retryable: true,
    });
  }
  return parseServerList(result.stdout, family, only);
}
