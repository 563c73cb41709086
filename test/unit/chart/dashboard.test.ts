// The dashboard: Grafana can read it, promtool takes each expression, and each metric is one that the agent has.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { chart } from '../../support/helm.ts';
import { metricsOf, unknownIn } from '../../support/metric-names.ts';
import { outsideTool } from '../../support/outside-tools.ts';

const promtool = await outsideTool('promtool');
const blocked = 'missing' in promtool ? ` (${promtool.missing})` : '';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
  }[];
}

const text = await readFile(join(chart, 'files', 'dashboard.json'), 'utf8');
const dashboard = JSON.parse(text) as {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
};
const shown = dashboard.panels.filter(({ type }) => type !== 'row');
const expressions = [
  ...shown.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ expr }) => expr),
];

/** As Grafana fills them in. */
function filledIn(expression: string): string {
  return expression
    .replaceAll('$__rate_interval', '1m')
    .replaceAll('$job', 'switchyard')
    .replaceAll('$node', '.*');
}

describe('the dashboard', () => {
  it('has panels with titles and numbers of their own, each with something to show', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    expect(new Set(shown.map(({ title }) => title)).size).toBe(shown.length);
    expect(shown.filter(({ targets = [] }) => targets.length === 0)).toEqual([]);
  });

  it('has no panel over another one, nor beyond the edge', () => {
    const taken = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
    }
  });

  it('asks for nothing but metrics of the agent, of the job and the nodes chosen', () => {
    for (const expression of expressions) {
      const names = metricsOf(expression);
      expect(names, expression).not.toEqual([]);
      expect(unknownIn(expression), expression).toEqual([]);
      const selectors = expression.match(/\{[^}]*\}/g) ?? [];
      expect(selectors.length, expression).toBeGreaterThanOrEqual(names.length);
      for (const each of selectors) expect(each).toContain('job="$job", node=~"$node"');
    }
  });

  it('a metric or label that there is not is seen', () => {
    const expression = 'sum by (le) (rate(kubeproxy_no_such_thing{job="$job"}[5m])) / on (node) up';
    expect(metricsOf(expression)).toEqual(['kubeproxy_no_such_thing', 'up']);
    expect(unknownIn(expression)).toEqual(['kubeproxy_no_such_thing', 'le']);
  });

  it.skipIf(blocked !== '')(`has expressions that promtool takes${blocked}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'switchyard-dashboard-'));
    try {
      const rules = expressions.map((expr, at) => ({
        record: `panel:${at}`,
        expr: filledIn(expr),
      }));
      const file = join(folder, 'rules.json'); // JSON is YAML
      await writeFile(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
      const path = 'path' in promtool ? promtool.path : '';
      const { stdout } = await execa(path, ['check', 'rules', file]);
      expect(stdout).toContain(`SUCCESS: ${expressions.length} rules found`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
