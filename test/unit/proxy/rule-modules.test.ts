import { describe, expect, it } from 'vitest';
import { loadRuleModules } from '../../../src/proxy/rule-modules.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../support/fake-tool-runner.ts';

const { signal } = new AbortController();

const legacyTables = () => Promise.resolve({ ipv4: [], ipv6: [] });

/** Legacy tools that all work, but for what the test says. */
function machine(answer: (run: RecordedRun) => Answer = () => undefined) {
  const told: string[] = [];
  const tools = new FakeToolRunner((run) => {
    const said = answer(run);
    if (said !== undefined || !run.args.includes('--version')) return said;
    if (run.tool.includes('nft')) return 'missing';
    return { stdout: `${run.tool} v1.8.9 (legacy)` };
  });
  const tell = (_context: object, message: string): void => void told.push(message);
  const log: Log = { ...silentLog, info: tell, warn: tell };
  return { tools, told, options: { tools, env: {}, log, legacyTables } };
}

function restored(tools: FakeToolRunner, tool: string): string {
  return tools.inputs(tool).join('');
}

describe('the modules of rules', () => {
  it('are loaded by trying what rules are made of, in both families', async () => {
    const { tools, options } = machine();
    await loadRuleModules(options, signal);
    for (const tool of ['iptables-legacy-restore', 'ip6tables-legacy-restore']) {
      expect(restored(tools, tool)).toContain('-m conntrack');
      expect(restored(tools, tool)).toContain('MASQUERADE');
    }
  });

  it('of one family are loaded where those of the other cannot be', async () => {
    const { tools, told, options } = machine(({ tool, args }) =>
      tool === 'iptables-legacy-restore' && !args.includes('--version')
        ? { exitCode: 4, stderr: 'Another app is currently holding the xtables lock.' }
        : undefined,
    );
    await loadRuleModules(options, signal);
    expect(told.join()).toContain('modules for the rules of IPv4 may not be loaded');
    expect(restored(tools, 'ip6tables-legacy-restore')).toContain('-m conntrack');
  });

  it('are no reason to fail where there are no tools: the agent says so', async () => {
    const { told, options } = machine(() => 'missing');
    await loadRuleModules(options, signal);
    expect(told).toEqual([]);
  });
});
