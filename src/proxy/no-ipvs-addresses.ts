import { readDeviceIfAny } from '../backends/ipvs/device.ts';
import { SwitchyardError } from '../error.ts';
import { serviceLink } from '../host/interfaces.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { familyLabel } from '../ip/address.ts';

/**
 * Rejects, to be tried again, while addresses of Services stand on kube-ipvs0. A mode that does not know of ipvs would take its
 * filter away, and the node's own sockets would answer there; iptables mode alone drains what is left of an ipvs mode.
 */
export async function expectNoIpvsAddresses(tools: ToolRunner, signal: AbortSignal): Promise<void> {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const count = (await readDeviceIfAny(family, tools, signal))?.size ?? 0;
    if (count === 0) continue;
    throw new SwitchyardError(
      'tool',
      `an ipvs mode has ${count} address${count === 1 ? '' : 'es'} on ${serviceLink} (${familyLabel(family)}), where the node’s own sockets would answer`,
      {
        retryable: true,
        hint: 'run iptables mode until its connections have drained, or end the agent and run switchyard cleanup',
      },
    );
  }
}
