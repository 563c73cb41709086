import { isLoopback, parseAddress } from '../ip/address.ts';
import { parsePortRange } from '../ip/port-range.ts';
import type { FlagValues } from './flag-table.ts';
import type { FieldReport } from './ipvs-fields.ts';
import type { UserspaceConfig } from './proxy-config.ts';

const mostWorkers = 64;

/** The settings of the userspace mode; they are checked in that mode alone. */
export function readUserspace(flags: FlagValues, report: FieldReport): UserspaceConfig {
  const atLeast = (field: string, least: number, hint: string): number => {
    const value = flags.number(field);
    if (value >= least) return value;
    report.problem(field, least === 0 ? 'must not be negative' : 'must be above 0', hint);
    return least;
  };
  const portals = flags.text('userspacePortals') === 'none' ? 'none' : 'iptables';
  const bind = parseAddress(flags.text('bindAddress'));
  if (portals === 'iptables' && bind !== undefined && isLoopback(bind)) {
    const hint = 'give an address by which clients reach this node, or --userspace-portals=none';
    report.problem('bindAddress', `no portal leads to a listener at ${bind}`, hint);
  }
  if (flags.bool('masqueradeAll')) {
    const why = 'endpoints see the address of this node anyway';
    report.warn(`${flags.shown('masqueradeAll')} has no effect: in userspace mode ${why}`);
  }
  const workers = within(flags, 'userspaceWorkers', mostWorkers, report);
  return {
    portals,
    portRange: portRangeOf(flags, report),
    udpTimeoutMs: atLeast('udpTimeout', 1, 'the default is 250ms'),
    drainMs: atLeast('userspaceDrainTimeout', 0, 'give 0s to wait for no connection'),
    shutdownMs: atLeast('userspaceShutdownTimeout', 0, 'give 0s to wait for no connection'),
    workers: workers === 0 ? undefined : workers,
    portOffset: within(flags, 'userspacePortOffset', 64_512, report),
    stateFile: flags.given('userspaceStateFile') ? flags.text('userspaceStateFile') : undefined,
  };
}

function portRangeOf(flags: FlagValues, report: FieldReport): UserspaceConfig['portRange'] {
  const text = flags.text('proxyPortRange').trim();
  const range = parsePortRange(text);
  if (range === undefined) {
    const hint = 'give BEGIN-END, BEGIN+COUNT or one port, such as 20000-20999';
    report.problem('proxyPortRange', `${JSON.stringify(text)} is no range of ports`, hint);
  }
  return range === 'any' ? undefined : range;
}

function within(flags: FlagValues, field: string, most: number, report: FieldReport): number {
  const value = flags.number(field);
  if (value >= 0 && value <= most) return value;
  report.problem(field, `${value} is not 0 to ${most}`, 'give a whole number within these');
  return 0;
}
