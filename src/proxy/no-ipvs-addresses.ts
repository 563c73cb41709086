import { readDeviceIfAny } from '../backends/ipvs/device.ts';
import { isInAny } from '../backends/ipvs/excluded.ts';
import { SwitchyardError } from '../error.ts';
import { serviceLink } from '../host/interfaces.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { familyLabel, familyOf } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';

/**
 * Rejects, to be tried again, while addresses of Services stand on kube-ipvs0. A mode that does not know of ipvs would take its
 * filter away, and the node's own sockets would answer there (at what is excluded others see to that); iptables mode alone drains what is left of an ipvs mode.
 */
export async function expectNoIpvsAddresses(
  excludeCidrs: readonly Cidr[],
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<void> {
  const bound = await readDeviceIfAny('both', tools, signal);
  const ofIpvs = [...(bound?.keys() ?? [])].filter((each) => !isInAny(excludeCidrs, each));
  for (const family of ['ipv4', 'ipv6'] as const) {
    const count = ofIpvs.filter((each) => familyOf(each) === family).length;
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
