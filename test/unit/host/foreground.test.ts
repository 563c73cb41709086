import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, test, vi } from 'vitest';
import { runInForeground } from '../../../src/host/foreground.ts';

const never = new AbortController().signal;

describe('a program in the foreground', () => {
  test.each([
    ['its status', 'process.exit(3)', 3],
    ['that of a signal, as a shell gives it', 'process.kill(process.pid, "SIGTERM")', 143],
  ])('gives %s', async (_, script, status) => {
    expect(await runInForeground(process.execPath, ['-e', script], never)).toBe(status);
  });

  test('is asked to end, and waited for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'switchyard-foreground-'));
    const listening = join(folder, 'listening');
    const script = `
      process.on('SIGTERM', () => setTimeout(() => process.exit(7), 50));
      require('node:fs').writeFileSync(${JSON.stringify(listening)}, '');
      setInterval(() => {}, 60_000);`;
    const stop = new AbortController();
    const running = runInForeground(process.execPath, ['-e', script], stop.signal);
    await vi.waitUntil(() => existsSync(listening), { timeout: 20_000 });
    stop.abort();
    expect(await running).toBe(7);
    await rm(folder, { recursive: true });
  });

  test('that is not there rejects', async () => {
    await expect(runInForeground('/none', [], never)).rejects.toThrow('ENOENT');
  });
});
