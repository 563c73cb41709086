import { describe, expect, it } from 'vitest';

import { IptablesBackend } from '../../../../src/backends/iptables/backend.ts';
import type { IptablesState } from '../../../../src/backends/iptables/state.ts';
import type { Clock } from '../../../../src/clock.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../../support/fake-tool-runner.ts';
import { dnat, emptyDelta, emptyGraph, nodeState, rule } from '../../../support/iptables-states.ts';

const { signal } = new AbortController();
const web = dnat('web', '10.96.0.1', '10.1.0.1:8080');
const api = dnat('api', '10.96.0.2', '10.1.0.2:8080');

function setUp(answer: (run: RecordedRun) => Answer = () => undefined) {
  const tools = new FakeToolRunner(answer);
  const time = { nowMs: 1_800_000_000_000 };
  const clock: Clock = {
    // dates run backwards: nothing here may be measured by them
    now: () => -time.nowMs,
    monotonic: () => time.nowMs,
    sleep: () => Promise.resolve(),
  };
  const kernel: { desired: IptablesState } = { desired: nodeState(web, api) };
  const iptables = {
    variant: 'legacy',
    family: 'ipv4',
    version: [1, 8, 9],
    iptables: 'iptables-legacy',
    restore: 'iptables-legacy-restore',
    save: 'iptables-legacy-save',
  } as const;
  const lockPaths = { lockFile: '/nowhere/lock', proc: '/nowhere' };
  const lowering = { lower: () => kernel.desired };
  const backend = new IptablesBackend({
    tools,
    iptables,
    log: silentLog,
    lockPaths,
    lowering,
    clock,
    instanceId: 'one',
  });
  const sync = async () => backend.sync(emptyGraph, emptyDelta, signal);
  return { tools, time, kernel, backend, sync, restores: () => tools.inputs(iptables.restore) };
}

const locked = {
  exitCode: 4,
  stderr: 'Another app is currently holding the xtables lock. Stopped waiting after 5s.',
};
/** What the legacy tool says when the kernel refuses: the line of the COMMIT. */
const refusedAtCommit = (input: string) => ({
  exitCode: 1,
  stderr: `iptables-restore: line ${input.split('\n').indexOf('COMMIT') + 1} failed`,
});
const isRestore = ({ tool }: RecordedRun): boolean => tool.endsWith('-restore');

describe('syncs of the iptables backend', () => {
  it('waits for the lock, and leaves the wait interval to tools that know it', async () => {
    const { tools, sync } = setUp();
    await sync();
    expect(tools.runs.find(isRestore)?.args).toEqual(['-w', '5', '--noflush']);
  });

  it('is full at first, then partial, and full again after invalidate and after an hour', async () => {
    const { sync, backend, time } = setUp();
    const isFull = async () => (await sync()).full;
    expect(await isFull()).toBe(true);
    expect(await isFull()).toBe(false);
    backend.invalidate();
    expect(await isFull()).toBe(true);
    time.nowMs += 3_599_999;
    expect(await isFull()).toBe(false);
    time.nowMs += 1;
    expect(await isFull()).toBe(true);
  });

  it('rejects where the lock is held, does not look for bad services, and is full next time', async () => {
    let isHeld = false;
    const { sync, kernel, restores } = setUp((run) =>
      isHeld && isRestore(run) ? locked : undefined,
    );
    await sync();
    isHeld = true;
    kernel.desired = nodeState(web);
    const before = restores().length;
    await expect(sync()).rejects.toMatchObject({ code: 'timeout', retryable: true });
    expect(restores()).toHaveLength(before + 1);
    isHeld = false;
    expect(await sync()).toMatchObject({ full: true });
  });

  it('names the tool that is missing', async () => {
    const { sync } = setUp((run) => (isRestore(run) ? 'missing' : undefined));
    await expect(sync()).rejects.toMatchObject({ code: 'missing' });
  });

  it('leaves out every service the kernel refuses, and programs all others', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `s${i}`);
    const rules = names.map((name, i) =>
      rule(`-d 10.96.1.${i}/32 -j ${i % 40 === 7 ? 'BAD' : 'RETURN'}`, name),
    );
    const { sync, kernel, restores } = setUp(({ input }) =>
      input.includes('BAD') ? refusedAtCommit(input) : undefined,
    );
    kernel.desired = nodeState(...rules);
    const { unprogrammed } = await sync();
    expect(unprogrammed.map(({ name }) => name)).toEqual([
      'default/s47',
      'default/s7',
      'default/s87',
    ]);
    expect(unprogrammed[0]?.reason).toMatch(/line \d+ failed/);
    const last = restores().findLast((input) => input.includes('KUBE-FORWARD')) ?? '';
    expect(last.match(/-j RETURN/g)).toHaveLength(97);
    expect(restores().length).toBeLessThan(80);
  });

  it('tries a refused service again when its rules change, and after a delay that doubles', async () => {
    const { sync, kernel, time, restores } = setUp(({ input }) =>
      input.includes('BAD') ? refusedAtCommit(input) : undefined,
    );
    const bad = rule('-d 10.96.0.3/32 -j BAD', 'bad');
    kernel.desired = nodeState(web, bad);
    await sync();
    const triedAfter = async (ms: number): Promise<boolean> => {
      const before = restores().length;
      time.nowMs += ms;
      await sync();
      return restores().length > before;
    };
    expect(await triedAfter(29_999)).toBe(false);
    expect(await triedAfter(1)).toBe(true);
    expect(await triedAfter(59_999)).toBe(false);
    expect(await triedAfter(1)).toBe(true);
    kernel.desired = nodeState(web, rule('-d 10.96.0.3/32 -j RETURN', 'bad'));
    expect((await sync()).unprogrammed).toEqual([]);
  });

  it('rejects, naming the rule, where no service is at fault', async () => {
    const stderr = 'iptables-restore v1.8.9 (legacy): nonsense\nError occurred at line: 2\n';
    const { sync } = setUp((run) =>
      isRestore(run) && !run.input.includes('PROBE') ? { exitCode: 2, stderr } : undefined,
    );
    await expect(sync()).rejects.toThrow(/line 2, rule ":KUBE-SERVICES - \[0:0\]": nonsense/);
  });

  it('does not audit what it has not written', async () => {
    const { backend, tools } = setUp();
    expect(await backend.audit(signal)).toBeUndefined();
    expect(tools.runs).toEqual([]);
  });

  it('is not ended by deletions that are refused', async () => {
    const { sync } = setUp(({ tool, args, input }) => {
      if (tool.endsWith('-save') && args.includes('nat'))
        return { stdout: '*nat\n:KUBE-SVC-OLD - [0:0]\n' };
      return input.includes('-X KUBE-SVC-OLD')
        ? { exitCode: 1, stderr: 'line 3 failed' }
        : undefined;
    });
    expect(await sync()).toMatchObject({ full: true, unprogrammed: [] });
  });
});
