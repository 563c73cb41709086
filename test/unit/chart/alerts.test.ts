// The alerts: that promtool takes them, when they fire, that they name metrics there are, and what an operator then reads.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { chart } from '../../support/helm.ts';
import { knownMetrics, metricsOf, unknownIn } from '../../support/metric-names.ts';
import { outsideTool } from '../../support/outside-tools.ts';

const promtool = await outsideTool('promtool');
const blocked = 'missing' in promtool ? ` (${promtool.missing})` : '';
const path = 'path' in promtool ? promtool.path : '';

const file = join(chart, 'files', 'alerts.yaml');
const series = join(import.meta.dirname, 'alerts.promtool.yaml');

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

const { groups: ruleGroups } = parse(readFileSync(file, 'utf8')) as {
  groups: { readonly rules: readonly Alert[] }[];
};
const alerts = ruleGroups.flatMap(({ rules }) => rules);

interface Case {
  readonly alert_rule_test: { readonly alertname: string; readonly exp_alerts?: object[] }[];
}

describe.skipIf(blocked !== '')(`promtool${blocked}`, () => {
  it('takes the alerts', async () => {
    const { stdout } = await execa(path, ['check', 'rules', file]);
    expect(stdout).toContain(`SUCCESS: ${alerts.length} rules found`);
  });

  it('lets each fire when it has to, and not otherwise', async () => {
    const { exitCode, all } = await execa(path, ['test', 'rules', series], {
      all: true,
      reject: false,
    });
    expect(all).toContain('SUCCESS');
    expect(exitCode).toBe(0);
  });
});

describe('each alert', () => {
  const { tests } = parse(readFileSync(series, 'utf8')) as { tests: Case[] };
  const tried = tests.flatMap((each) => each.alert_rule_test);
  const page = readFileSync(join(import.meta.dirname, '../../../docs/operating.md'), 'utf8');

  it.each(alerts)(
    '$alert is tried with series that make it fire and others that do not',
    ({ alert }) => {
      const own = tried.filter(({ alertname }) => alertname === alert);
      expect(own.some(({ exp_alerts: fired }) => fired !== undefined)).toBe(true);
      const isTriedQuiet = own.some(({ exp_alerts: fired }) => fired === undefined);
      const hasBystander = tests.some(
        (each) =>
          each.alert_rule_test.some(({ alertname }) => alertname === alert) &&
          new Set(JSON.stringify(each).match(/instance=\\?"[^"\\]+|service=\\?"[^"\\]+/g)).size > 1,
      );
      expect(isTriedQuiet || hasBystander).toBe(true);
    },
  );

  it.each(alerts)('$alert has an entry in docs/operating.md', ({ alert, annotations }) => {
    expect(annotations['runbook']).toBe(`docs/operating.md#${alert.toLowerCase()}`);
    expect(page).toMatch(new RegExp(`^### ${alert}$`, 'm'));
  });

  it.each(alerts)('$alert asks for metrics and labels that the agent has', ({ expr }) => {
    expect(metricsOf(expr)).not.toEqual([]);
    expect(unknownIn(expr)).toEqual([]);
  });

  it.each(alerts)('$alert tells of labels that its series have', ({ expr, annotations }) => {
    const told = JSON.stringify(annotations).matchAll(/\$labels\.(?<label>\w+)/g);
    const labels = [...told].map(({ groups }) => groups?.['label'] ?? '');
    const grouped = /^(?:sum|histogram_quantile\(.*?sum) by \((?<list>[^)]*)\)/s.exec(expr)?.groups;
    const [metric = ''] = metricsOf(expr);
    const kept = grouped?.['list']?.match(/\w+/g) ?? [...(knownMetrics().get(metric) ?? [])];
    expect(labels.filter((label) => !kept.includes(label))).toEqual([]);
  });

  it.each(alerts)('$alert says how bad it is, and what', ({ labels, annotations }) => {
    expect(['critical', 'warning']).toContain(labels.severity);
    expect(annotations).toMatchObject({
      summary: expect.any(String),
      description: expect.any(String),
    });
  });

  it('has an entry in docs/operating.md, and each entry an alert', () => {
    const entries = [...page.matchAll(/^### (Switchyard\w+)$/gm)].map(([, name]) => name);
    expect(entries).toEqual(alerts.map(({ alert }) => alert));
  });
});
