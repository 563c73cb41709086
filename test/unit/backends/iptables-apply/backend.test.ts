import { describe, expect, it } from 'vitest';

import { IptablesBackend } from '../../../../src/backends/iptables/backend.ts';
import type { IptablesState } from '../../../../src/backends/iptables/state.ts';
import type { Clock } from '../../../../src/clock.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner, legacyTools, noLock } from '../../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../../support/fake-tool-runner.ts';
import {
  dnat,
  emptyDelta,
  emptyGraph,
  ipset,
  nodeState,
  rule,
} from '../../../support/iptables-states.ts';

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
  const lowering = { lower: () => kernel.desired };
  const backend = new IptablesBackend({
    tools,
    iptables: legacyTools,
    log: silentLog,
    lockPaths: noLock,
    lowering,
    clock,
    instanceId: 'one',
  });
  const sync = async () => backend.sync(emptyGraph, emptyDelta, signal);
  return { tools, time, kernel, backend, sync, restores: () => tools.inputs(legacyTools.restore) };
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

  describe('when everything is refused for a while', () => {
    const busy = { exitCode: 4, stderr: 'Could not fetch rule set generation id: No memory' };

    /** A kernel that refuses every restore that the test says, after a first sync that went well. */
    async function setUpRefusing(refused: (input: string) => boolean) {
      let isOver = true;
      const rig = setUp((run) =>
        isRestore(run) && !isOver && refused(run.input) ? busy : undefined,
      );
      await rig.sync();
      isOver = false;
      rig.kernel.desired = nodeState(web, api, dnat('new', '10.96.0.4', '10.1.0.4:8080'));
      return { ...rig, end: () => void (isOver = true) };
    }

    it.each<[string, (input: string) => boolean]>([
      ['even a plain rule', () => true],
      ['the rules of every service', (input) => input.includes('DNAT')],
    ])(
      '%s: no service is held, and the next sync that succeeds writes all',
      async (_what, refused) => {
        const { sync, restores, end } = await setUpRefusing(refused);
        await expect(sync()).rejects.toMatchObject({ code: 'tool', retryable: true });
        end();
        expect(await sync()).toMatchObject({ full: true, unprogrammed: [] });
        expect(
          restores()
            .at(-1)
            ?.match(/-j DNAT/g),
        ).toHaveLength(3);
      },
    );

    it('nor where the write without the bad ones is refused too', async () => {
      const { sync, end } = await setUpRefusing(
        (input) => !input.includes('PROBE') || input.includes('default/new'),
      );
      await expect(sync()).rejects.toMatchObject({ code: 'tool' });
      end();
      expect(await sync()).toMatchObject({ unprogrammed: [] });
    });

    it('the lock file that cannot be opened among them: nothing is tried by itself', async () => {
      const stderr = "Fatal: can't open lock file /run/xtables.lock: Read-only file system";
      const { sync, restores } = setUp((run) =>
        isRestore(run) ? { exitCode: 4, stderr } : undefined,
      );
      await expect(sync()).rejects.toMatchObject({ message: expect.stringContaining('its lock') });
      expect(restores()).toHaveLength(1);
    });
  });

  it('counts what was refused, also where the sync then succeeds', async () => {
    let refuses = false;
    const { sync, kernel } = setUp((run) => {
      if (!refuses || !isRestore(run)) return undefined;
      refuses = false;
      return refusedAtCommit(run.input);
    });
    expect(await sync()).toMatchObject({ refusedWrites: { full: 0, partial: 0 } });
    refuses = true;
    kernel.desired = nodeState(web);
    expect(await sync()).toMatchObject({ full: true, refusedWrites: { full: 0, partial: 1 } });
    expect(await sync()).toMatchObject({ refusedWrites: { full: 0, partial: 0 } });
  });

  describe('while sets cannot be made', () => {
    const affinity = ipset('KUBE-AFF-A', 'hash:ip family inet timeout 60');
    const sticky = rule('-m set --match-set KUBE-AFF-A src -j RETURN', 'sticky');
    const withSet = {
      ...nodeState(web, sticky, api),
      sets: new Map([[affinity.name, affinity]]),
    };

    /** A kernel that takes rules over sets when it has them. */
    function setUpSets() {
      const ipsets = { works: false, there: false };
      const rig = setUp(({ tool, args, input }) => {
        if (tool === 'ipset' && args[0] === 'restore') {
          if (!ipsets.works) return { exitCode: 1, stderr: 'ipset v7.17: Kernel error received' };
          ipsets.there ||= input.includes('create -exist KUBE-AFF-A ');
        }
        const line = input.split('\n').findIndex((each) => each.includes('--match-set'));
        if (!tool.endsWith('-restore') || line < 0 || ipsets.there) return undefined;
        const stderr = `Set KUBE-AFF-A doesn't exist.\nError occurred at line: ${line + 1}\n`;
        return { exitCode: 2, stderr };
      });
      rig.kernel.desired = withSet;
      return { ...rig, ipsets };
    }

    it('services without sets are programmed, the others named, and the sync is to be repeated', async () => {
      const { sync, restores } = setUpSets();
      expect(await sync()).toMatchObject({
        full: true,
        unprogrammed: [
          { name: 'default/sticky', reason: expect.stringContaining("KUBE-AFF-A doesn't exist") },
        ],
        failure: { code: 'tool', message: expect.stringContaining('Kernel error received') },
      });
      const written = restores().findLast((input) => input.includes('KUBE-FORWARD')) ?? '';
      expect(written).toContain(web.args);
      expect(written).toContain(api.args);
    });

    it('and when they can, the services left out are written at once', async () => {
      const { sync, restores, ipsets } = setUpSets();
      await sync();
      expect((await sync()).failure).toBeDefined();
      ipsets.works = true;
      expect(await sync()).toMatchObject({ unprogrammed: [], failure: undefined });
      expect(restores().at(-1)).toContain('--match-set');
      expect(await sync()).toMatchObject({ full: false, unprogrammed: [], failure: undefined });
    });

    it('nothing is amiss where no rule wants one', async () => {
      const { sync, kernel } = setUp(({ tool }) =>
        tool === 'ipset' ? { exitCode: 1, stderr: 'Cannot open session to kernel.' } : undefined,
      );
      kernel.desired = nodeState(web);
      expect(await sync()).toMatchObject({ full: true, failure: undefined });
    });
  });

  it('believes no dump that ends before the table does', async () => {
    let isCut = true;
    const { sync, restores } = setUp(({ tool, args }) => {
      if (!tool.endsWith('-save') || !args.includes('nat')) return undefined;
      return { stdout: `*nat\n:KUBE-SERVICES - [0:0]\n${isCut ? '-A KUBE-SER' : 'COMMIT\n'}` };
    });
    await expect(sync()).rejects.toMatchObject({
      message: "iptables-legacy-save -t nat ended before the table's end",
      retryable: true,
    });
    expect(restores()).toEqual([]);
    isCut = false;
    expect(await sync()).toMatchObject({ full: true });
  });

  it('gives a restore time by its size', async () => {
    const { tools, sync } = setUp();
    await sync();
    const { timeoutMs } = tools.runs.find(isRestore) ?? {};
    expect(timeoutMs).toBeGreaterThan(60_000);
    expect(timeoutMs).toBeLessThan(61_000);
  });

  it('does not audit what it has not written', async () => {
    const { backend, tools } = setUp();
    expect(await backend.audit(signal)).toBeUndefined();
    expect(tools.runs).toEqual([]);
  });

  it('is not ended by deletions that are refused', async () => {
    const { sync } = setUp(({ tool, args, input }) => {
      if (tool.endsWith('-save') && args.includes('nat'))
        return { stdout: '*nat\n:KUBE-SVC-OLD - [0:0]\nCOMMIT\n' };
      return input.includes('-X KUBE-SVC-OLD')
        ? { exitCode: 1, stderr: 'line 3 failed' }
        : undefined;
    });
    expect(await sync()).toMatchObject({ full: true, unprogrammed: [] });
  });
});
