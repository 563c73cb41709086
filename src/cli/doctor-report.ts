import type { FlagTable, FlagValues } from '../config/flag-table.ts';
import type { Finding } from '../doctor/finding.ts';
import { reportText } from '../doctor/report-text.ts';
import { exitStatus, reportJson, reportOf } from '../doctor/report.ts';
import type { Report } from '../doctor/report.ts';
import { SwitchyardError } from '../error.ts';
import type { CommandIo } from './command.ts';
import { version } from './version.ts';

/** How findings are told, of either half of a node. */
export const reportFlags: FlagTable = [
  {
    name: 'output',
    type: 'enum',
    values: ['text', 'json'],
    default: 'text',
    help: 'A table for people, or JSON for scripts: the ids of checks stay the same.',
  },
  {
    name: 'only',
    type: 'list',
    placeholder: 'ID',
    help: 'Only these checks, by id or the first words of it: api, sysctl.net.ipv4.ip_forward.',
  },
  {
    name: 'strict',
    type: 'bool',
    default: false,
    help: 'A warning makes exit status 1, too.',
  },
  {
    name: 'quiet',
    type: 'bool',
    default: false,
    help: 'Show warnings and failures alone.',
  },
  {
    name: 'kubelet',
    type: 'bool',
    default: false,
    help: 'Look at what a kubelet needs, in the place of a proxy; the other flags are the kubelet’s then.',
  },
];

/** Checks that can have a finding that is asked for. */
export function wanted<C extends { readonly id: string }>(
  checks: readonly C[],
  only: readonly string[],
): readonly C[] {
  return checks.filter(
    ({ id }) => only.length === 0 || only.some((each) => each.split('.', 1)[0] === id),
  );
}

/** Prints findings, and gives the exit status. */
export function say(
  findings: readonly Finding[],
  whose: Pick<Report, 'nodeName' | 'way'>,
  {
    flags,
    io,
    isPartial,
  }: { readonly flags: FlagValues; readonly io: CommandIo; readonly isPartial: boolean },
): number {
  const report = reportOf(findings, whose, { isPartial });
  if (flags.text('output') === 'json') io.stdout(reportJson(report, version));
  else io.stdout(reportText(report, { quiet: flags.bool('quiet') }));
  return exitStatus(report, flags.bool('strict'));
}

export function unknownIds(
  only: readonly string[],
  checks: readonly { readonly id: string }[],
): SwitchyardError {
  const hint = `checks: ${checks.map(({ id }) => id).join(', ')}; without --only all ids are shown`;
  return new SwitchyardError('usage', `--only: no finding is called ${only.join(' or ')}`, {
    hint,
  });
}
