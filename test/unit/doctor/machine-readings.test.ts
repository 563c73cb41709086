/** What doctor reads of tools that are there and of no use. */
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { machineReadings } from '../../../src/doctor/machine-readings.ts';
import { SwitchyardError } from '../../../src/error.ts';
import type { ToolRunner } from '../../../src/host/run-tool.ts';
import { findingsOf, subjectOf } from '../../support/healthy-node.ts';
import { ownFolder } from '../../support/own-folder.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const answering = (conntrack: ToolRunner['run']): ToolRunner => ({
  run: async (tool, args, options) =>
    tool === 'conntrack'
      ? conntrack(tool, args, options)
      : { exitCode: 0, stdout: 'v1.2.3', stderr: '', durationMs: 0 },
});

describe('a look that must not load modules', () => {
  it('asks ipset for its help, which asks nothing of the kernel', async () => {
    const folder = ownFolder('swy-tools');
    await writeFile(join(folder, 'ipset'), '');
    await chmod(join(folder, 'ipset'), 0o755);
    vi.stubEnv('PATH', folder);
    const runs: string[] = [];
    const tools: ToolRunner = {
      run: async (tool, args) => {
        runs.push([tool, ...args].join(' '));
        const stdout = 'ipset v7.17\n\nUsage: ipset [options] COMMAND\n';
        return { exitCode: 0, stdout, stderr: '', durationMs: 0 };
      },
    };
    const { signal } = new AbortController();
    const options = { subject: subjectOf(), tools, clock: new VirtualClock(), env: {}, signal };
    try {
      const read = await machineReadings({ ...options, mayProbe: false }).tools();
      const found = { said: 'ipset v7.17', version: [7, 17, 0] };
      expect(read.find(({ tool }) => tool === 'ipset')).toMatchObject(found);
      expect(runs.filter((run) => run.startsWith('ipset'))).toEqual(['ipset help']);
    } finally {
      vi.unstubAllEnvs();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('the look at the API server', () => {
  it('has the time that its credentials take, to the millisecond that a timer knows', async () => {
    const clock = new VirtualClock();
    let nowMs = 0;
    const fine = {
      monotonic: () => (nowMs += 0.25),
      now: () => clock.now(),
      sleep: async (ms: number, signal?: AbortSignal) => clock.sleep(ms, signal),
    };
    const { signal } = new AbortController();
    const tools = answering(async () => ({ exitCode: 0, stdout: '', stderr: '', durationMs: 0 }));
    const subject = subjectOf('--master=http://127.0.0.1:1');
    const options = { subject, tools, clock: fine, env: {}, mayProbe: false, signal };
    expect(await machineReadings(options).api()).toMatchObject({ kind: 'silent' });
  });
});

describe('a tool that is there', () => {
  let folder: string;

  beforeEach(async () => {
    folder = ownFolder('swy-tools');
    await writeFile(join(folder, 'conntrack'), '');
    await chmod(join(folder, 'conntrack'), 0o755);
    vi.stubEnv('PATH', folder);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
  });

  it.each([
    [
      'lacks a library',
      answering(async () => ({
        exitCode: 127,
        stdout: '',
        stderr: 'error while loading shared libraries: libmnl.so.0\n',
        durationMs: 0,
      })),
      'cannot be run (error while loading shared libraries: libmnl.so.0)',
    ],
    [
      'is of another machine',
      answering(async () => {
        throw new SwitchyardError('tool', 'conntrack could not be run: ENOEXEC');
      }),
      'cannot be run (conntrack could not be run: ENOEXEC)',
    ],
  ])('and %s is no tool, and keeps no other from being told', async (_, tools, why) => {
    const subject = subjectOf();
    const { signal } = new AbortController();
    const options = { subject, tools, clock: new VirtualClock(), env: {}, mayProbe: false, signal };
    const read = await machineReadings(options).tools();
    expect(read.find(({ tool }) => tool === 'conntrack')).toMatchObject({ found: false, why });
    const found = await findingsOf({ tools: read });
    expect(found.find(({ id }) => id === 'tool.conntrack')).toMatchObject({
      status: 'warning',
      text: expect.stringContaining(why),
    });
  });
});
