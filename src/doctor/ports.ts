import type { BindConfig } from '../config/proxy-config.ts';
import type { ProxyProcess } from '../host/proxy-processes.ts';
import { registered } from './check.ts';
import type { Subject } from './check.ts';
import { failure, ok, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { PortReading } from './readings.ts';

interface PortFacts {
  readonly listeners: readonly PortReading[];
  readonly proxies: readonly ProxyProcess[];
}

/** Whether the ports of the agent's own servers are free, or who has them. */
export const ports = registered<PortFacts>({
  id: 'port',
  read: async (readings) => ({
    listeners: await readings.listeners(),
    proxies: await readings.proxies(),
  }),
  judge: (facts, subject) => [
    judgeServer('healthz', subject.config.healthzBind, facts, subject),
    judgeServer('metrics', subject.config.metricsBind, facts, subject),
  ],
});

function judgeServer(
  server: 'healthz' | 'metrics',
  bind: BindConfig | undefined,
  { listeners, proxies }: PortFacts,
  { config }: Subject,
): Finding {
  const id = `port.${server}`;
  const flag = `--${server}-bind-address`;
  if (bind === undefined) return skipped(id, `${flag} is empty: there is no such server`);
  const shown = bind.address.includes(':')
    ? `[${bind.address}]:${bind.port}`
    : `${bind.address}:${bind.port}`;
  const taken = listeners.find((each) => each.port === bind.port && meets(each, bind.address));
  if (taken === undefined) return ok(id, `${shown} is free`);
  const { owner } = taken;
  const own = proxies.find(({ pid, kind }) => pid === owner?.pid && kind === 'Switchyard');
  if (own !== undefined) return ok(id, `${shown} is answered by Switchyard (process ${own.pid})`);
  const then = config.bindAddressHardFail
    ? 'the agent would end'
    : 'the agent would try again every 5 s';
  if (owner === undefined) {
    const cure = `see who: ss -ltnp 'sport = :${bind.port}'; end it, or give another ${flag}`;
    return warning(id, `${shown} is taken, by a process that cannot be seen; ${then}`, cure);
  }
  const who = `process ${owner.pid} (${owner.name})`;
  return failure(id, `${shown} is taken by ${who}; ${then}`, `end it, or give another ${flag}`);
}

const wildcards = new Set(['0.0.0.0', '::']);

/** Whether a listener at one address keeps another from the other. */
function meets({ address: has, takesIPv4 = true }: PortReading, wants: string): boolean {
  if (has === wants) return true;
  if (has === '::') return takesIPv4 || wants.includes(':');
  if (wildcards.has(has) || wildcards.has(wants))
    return has.includes(':') === wants.includes(':') || wants === '::';
  return has === `::ffff:${wants}`;
}
