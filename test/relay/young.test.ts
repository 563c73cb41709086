// What belongs to a connection dies young: the pauses of the collector are what the slowest of short connections wait for.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ownNetwork } from './stage.ts';

const run = promisify(execFile);

describe.skipIf(!ownNetwork)('a short connection', () => {
  it('leaves next to nothing among the old objects', async () => {
    const args = ['--expose-gc', '--no-deprecation', join(import.meta.dirname, 'short-lives.ts')];
    const { stdout } = await run(process.execPath, args, { timeout: 50_000 });
    // With functions that V8 takes for methods each left a thousand bytes.
    expect(Number(stdout)).toBeLessThan(200);
  });
});
