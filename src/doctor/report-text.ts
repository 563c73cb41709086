import type { Finding, Status, Way } from './finding.ts';
import type { Report, Verdict } from './report.ts';

const marks: Readonly<Record<Status, string>> = {
  ok: '✓',
  warning: '!',
  failure: '✗',
  skipped: '–',
};

const names: Readonly<Record<Way, string>> = {
  iptables: 'iptables',
  ipvs: 'ipvs',
  userspace: 'userspace',
  'userspace-without-portals': 'userspace, --userspace-portals=none',
};

/** For people: a line each, the cure below it; what to do first comes last, where the eye is. */
export function reportText(report: Report, { quiet }: { readonly quiet: boolean }): string {
  const { findings, way, nodeName, verdicts } = report;
  const shown = quiet ? findings.filter(isNotable) : findings;
  const width = Math.max(0, ...shown.map(({ id }) => id.length));
  return [
    `switchyard doctor: node ${nodeName}, ${way === 'kubelet' ? way : `mode ${names[way]}`}`,
    '',
    ...shown.flatMap((finding) => lines(finding, width)),
    ...(shown.length > 0 ? [''] : []),
    ...verdictSection(verdicts, new Set(findings)),
    countLine(findings),
    '',
  ].join('\n');
}

function isNotable({ status }: Finding): boolean {
  return status === 'failure' || status === 'warning';
}

function lines({ id, status, text, cure }: Finding, width: number): readonly string[] {
  const first = `${marks[status]} ${id.padEnd(width)}  ${text}`;
  return cure === undefined ? [first] : [first, `${' '.repeat(width + 4)}→ ${cure}`];
}

function verdictSection(
  verdicts: readonly Verdict[],
  told: ReadonlySet<Finding>,
): readonly string[] {
  if (verdicts.length === 0) return [];
  return ['could run here:', ...verdicts.flatMap((each) => verdictLines(each, told)), ''];
}

/** What was told above is named; what concerns another mode alone is told here. */
function verdictLines(
  { way, status, findings }: Verdict,
  told: ReadonlySet<Finding>,
): readonly string[] {
  const of = (wanted: Status): string =>
    findings
      .filter((each) => each.status === wanted)
      .map(({ id }) => id)
      .join(', ');
  const words = {
    failure: `no: ${of('failure')}`,
    warning: `yes; see ${of('warning')}`,
    ok: 'yes',
  }[status];
  const untold = findings.filter((each) => !told.has(each));
  const width = Math.max(0, ...untold.map(({ id }) => id.length));
  const details = untold.flatMap((each) => lines(each, width)).map((line) => `    ${line}`);
  return [`${marks[status]} ${names[way]}: ${words}`, ...details];
}

function countLine(findings: readonly Finding[]): string {
  const count = (wanted: Status): number =>
    findings.filter(({ status }) => status === wanted).length;
  const parts = [
    plural(count('failure'), 'failure'),
    plural(count('warning'), 'warning'),
    `${count('ok')} as they should be`,
    `${count('skipped')} not looked at`,
  ];
  return parts.join(', ');
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
