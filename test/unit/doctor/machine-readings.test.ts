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
