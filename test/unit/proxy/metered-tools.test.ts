// Each run of a tool is counted and timed, and so are the waits for the xtables lock.
import { mkdtemp, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SwitchyardError } from '../../../src/error.ts';
import type { ToolResult, ToolRunner } from '../../../src/host/run-tool.ts';
import { lockWaiterPids, waitsForXtablesLock } from '../../../src/host/xtables-lock.ts';
import { meteredTools } from '../../../src/proxy/metered-tools.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { VirtualClock } from './virtual-clock.ts';

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

class Rig {
  readonly clock = new VirtualClock();
  readonly metrics = new ProxyMetrics({ version: 'test' });
  /** What each run gives, in turn. */
  readonly runs: (() => Promise<ToolResult>)[] = [];
  waits = false;
  readonly stop = new AbortController();
  readonly tools = meteredTools({
    tools: { run: async () => this.runs.shift()?.() } as unknown as ToolRunner,
    metrics: this.metrics.tools,
    clock: this.clock,
    waitsForLock: async () => this.waits,
  });

  async run(tool: string): Promise<ToolResult> {
    return this.tools.run(tool, [], { timeoutMs: 1000, signal: this.stop.signal });
  }

  async lines(start: string): Promise<readonly string[]> {
    const text = await this.metrics.registry.metrics();
    return text.split('\n').filter((line) => line.startsWith(start) && !line.includes('_bucket'));
  }
}

const ended = (exitCode: number, stderr = ''): ToolResult => {
  return { exitCode, stdout: '', stderr, durationMs: 1 };
};

describe('tools with a meter', () => {
  it('count runs by how they end, and pass on what they give', async () => {
    const rig = new Rig();
    rig.runs.push(
      async () => ended(0),
      async () => ended(1),
      async () => Promise.reject(new SwitchyardError('missing', 'no ipset')),
      async () => Promise.reject(new SwitchyardError('timeout', 'too long')),
      async () => Promise.reject(new SwitchyardError('tool', 'ended by SIGSEGV')),
    );
    expect(await rig.run('/usr/sbin/ipset')).toEqual(ended(0));
    expect(await rig.run('ipset')).toEqual(ended(1));
    for (const why of ['no ipset', 'too long', 'SIGSEGV'])
      await expect(rig.run('ipset')).rejects.toThrow(why);
    expect(await rig.lines('switchyard_tool_runs_total{')).toEqual([
      'switchyard_tool_runs_total{tool="ipset",result="ok"} 1',
      'switchyard_tool_runs_total{tool="ipset",result="refused"} 1',
      'switchyard_tool_runs_total{tool="ipset",result="missing"} 1',
      'switchyard_tool_runs_total{tool="ipset",result="timeout"} 1',
      'switchyard_tool_runs_total{tool="ipset",result="killed"} 1',
    ]);
    expect(await rig.lines('switchyard_tool_duration_seconds_count')).toEqual([
      'switchyard_tool_duration_seconds_count{tool="ipset"} 5',
    ]);
  });

  it('tell runs that we ended from those that took too long', async () => {
    const rig = new Rig();
    rig.stop.abort();
    rig.runs.push(async () => Promise.reject(new SwitchyardError('timeout', 'stopped')));
    await expect(rig.run('conntrack')).rejects.toThrow('stopped');
    expect(await rig.lines('switchyard_tool_runs_total{')).toEqual([
      'switchyard_tool_runs_total{tool="conntrack",result="stopped"} 1',
    ]);
  });

  it('time a run, and how long of it the lock was waited for', async () => {
    const rig = new Rig();
    const { promise, resolve } = Promise.withResolvers<ToolResult>();
    rig.runs.push(async () => promise);
    rig.waits = true;
    const run = rig.run('iptables-restore');
    await rig.clock.advance(1000);
    rig.waits = false;
    await rig.clock.advance(500);
    resolve(ended(0));
    await run;
    expect(await rig.lines('switchyard_xtables_lock_wait_seconds')).toEqual([
      'switchyard_xtables_lock_wait_seconds_sum 1',
      'switchyard_xtables_lock_wait_seconds_count 1',
    ]);
    expect(await rig.lines('switchyard_tool_duration_seconds_sum')).toEqual([
      'switchyard_tool_duration_seconds_sum{tool="iptables-restore"} 1.5',
    ]);
  });

  it('see no wait where there was none, nor for tools that take no lock', async () => {
    const rig = new Rig();
    for (const tool of ['iptables-restore', 'ipset']) {
      const { promise, resolve } = Promise.withResolvers<ToolResult>();
      rig.runs.push(async () => promise);
      rig.waits = tool === 'ipset';
      const run = rig.run(tool);
      await rig.clock.advance(1000);
      resolve(ended(0));
      await run;
    }
    expect(await rig.lines('switchyard_xtables_lock_wait_seconds_count')).toEqual([
      'switchyard_xtables_lock_wait_seconds_count 0',
    ]);
  });

  it('count the runs that did not get the lock', async () => {
    const rig = new Rig();
    const words = 'Another app is currently holding the xtables lock.';
    rig.runs.push(
      async () => ended(4, words),
      async () => ended(4, 'line 3: RULE_APPEND failed'),
    );
    await rig.run('iptables-legacy-restore');
    await rig.run('iptables-nft-restore');
    expect(await rig.lines('switchyard_xtables_lock_failures_total')).toEqual([
      'switchyard_xtables_lock_failures_total 1',
    ]);
  });
});

describe('who waits for the xtables lock', () => {
  const locks = [
    '1: FLOCK  ADVISORY  WRITE 100 00:17:77 0 EOF',
    '1: -> FLOCK  ADVISORY  WRITE 101 00:17:77 0 EOF',
    '1: -> FLOCK  ADVISORY  WRITE 102 00:17:77 0 EOF',
    '2: POSIX  ADVISORY  WRITE 103 00:17:78 0 EOF',
    '2: -> POSIX  ADVISORY  WRITE 104 00:17:78 0 EOF',
    '',
  ].join('\n');

  it('stands in /proc/locks behind an arrow', () => {
    expect(lockWaiterPids(locks, 77)).toEqual([101, 102]);
  });

  it('is a tool of ours where its environment says so', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'switchyard-locks-'));
    folders.push(folder);
    const paths = { lockFile: join(folder, 'xtables.lock'), proc: folder };
    expect(await waitsForXtablesLock(paths, 7)).toBe(false);
    await writeFile(paths.lockFile, '');
    const { ino } = await stat(paths.lockFile);
    await writeFile(join(folder, 'locks'), locks.replaceAll(':77 ', `:${ino} `));
    await mkdir(join(folder, '102'));
    await writeFile(join(folder, '102', 'environ'), 'LC_ALL=C\0SWITCHYARD_TOOL_OF=7\0');
    expect(await waitsForXtablesLock(paths, 7)).toBe(true);
    expect(await waitsForXtablesLock(paths, 8)).toBe(false);
  });
});
