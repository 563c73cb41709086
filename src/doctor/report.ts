import { ways } from './finding.ts';
import type { Finding, Status, Way } from './finding.ts';

/** Whether a way could be used on this node, by what concerns it alone: the API server and ports are everybody's. */
export interface Verdict {
  readonly way: Way;
  readonly status: Exclude<Status, 'skipped'>;
  /** What is in the way, and what to look at. */
  readonly findings: readonly Finding[];
}

/** All that doctor found. */
export interface Report {
  readonly nodeName: string;
  /** The way of the configuration; of the other half of a node it is this half. */
  readonly way: Way | 'kubelet';
  readonly status: Exclude<Status, 'skipped'>;
  /** What concerns that way. */
  readonly findings: readonly Finding[];
  /** None where only some checks were asked for. */
  readonly verdicts: readonly Verdict[];
}

/** The findings of this configuration, and a verdict for each way: of some checks alone (`isPartial`) there is none. */
export function reportOf(
  findings: readonly Finding[],
  { nodeName, way }: Pick<Report, 'nodeName' | 'way'>,
  { isPartial = false } = {},
): Report {
  const own = findings.filter((each) => concerns(each, way));
  return {
    nodeName,
    way,
    status: worst(own),
    findings: own,
    verdicts: (isPartial ? [] : ways).map((each) => {
      const its = findings.filter((one) => one.ways?.includes(each) === true);
      const notable = its.filter(({ status }) => status === 'failure' || status === 'warning');
      return { way: each, status: worst(its), findings: notable };
    }),
  };
}

function concerns({ ways: of }: Finding, way: Report['way']): boolean {
  return of === undefined || (way !== 'kubelet' && of.includes(way));
}

function worst(findings: readonly Finding[]): Report['status'] {
  const has = (wanted: Status): boolean => findings.some(({ status }) => status === wanted);
  if (has('failure')) return 'failure';
  return has('warning') ? 'warning' : 'ok';
}

/** 1 where something fails; with `strict` also where something is to be looked at. */
export function exitStatus({ status }: Report, strict: boolean): 0 | 1 {
  return status === 'failure' || (strict && status === 'warning') ? 1 : 0;
}

/** For scripts. Fields are added, never renamed nor removed, while `version` stays. */
export function reportJson(report: Report, switchyard: string): string {
  const { nodeName, way, status, findings, verdicts } = report;
  const value = {
    version: 1,
    switchyard,
    node: nodeName,
    mode: way,
    status,
    checks: findings.map(jsonFinding),
    modes: verdicts.map((verdict) => ({
      mode: verdict.way,
      status: verdict.status,
      problems: verdict.findings.map(jsonFinding),
    })),
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function jsonFinding({ id, status, text, cure }: Finding): object {
  return { id, status, text, ...(cure !== undefined && { cure }) };
}
