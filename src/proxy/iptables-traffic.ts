import type { ApplyPort } from '../backends/iptables/apply.ts';
import type { IptablesBackendParts } from '../backends/iptables/backend.ts';
import { RuleCounters } from '../backends/iptables/rule-counters.ts';
import { familyLabel } from '../ip/address.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { Log } from '../telemetry/log.ts';
import { FlowBytes } from './flow-bytes.ts';
import type { TrafficCounting } from './service-traffic.ts';

/** Has the traffic of a family counted, by its rules and where asked by connection tracking: what its backend needs for that. */
export function countTraffic(
  port: ApplyPort,
  traffic: TrafficCounting | undefined,
): Pick<IptablesBackendParts, 'counters' | 'onWritten'> {
  if (traffic === undefined) return {};
  const { family } = port.iptables;
  const counters = new RuleCounters(port, traffic);
  traffic.watch({
    name: `rules (${familyLabel(family)})`,
    read: async (signal) => counters.read(signal),
  });
  if (!traffic.hasBytes) return { counters };
  const bytes = new FlowBytes({ family, tools: port.tools, sink: traffic });
  traffic.watch(bytes);
  return { counters, onWritten: (graph) => bytes.written(graph) };
}

/** Without it bytes stay 0: that has to be said, and nobody switches it on who was not asked. */
export async function checkAccounting({
  sysctls,
  log,
}: {
  readonly sysctls: Pick<Sysctls, 'read'>;
  readonly log: Log;
}): Promise<void> {
  if ((await sysctls.read('net/netfilter/nf_conntrack_acct')) === '1') return;
  const hint =
    'give --conntrack-accounting, or set net.netfilter.nf_conntrack_acct=1 on the host; connections begun before are not counted';
  log.warn({ hint }, 'the kernel does not count the bytes of connections: their metrics stay 0');
}
