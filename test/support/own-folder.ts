import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { processLives } from '../../src/host/process.ts';

/**
 * Makes a folder of this process's own, `PREFIX-PID-XXXXXX` in the machine's temporary one; the caller removes it. What
 * processes that are gone left there by the same prefix is removed first.
 */
export function ownFolder(prefix: string): string {
  const pattern = new RegExp(`^${prefix}-(?<pid>\\d+)-\\w{6}$`);
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(pattern.exec(name)?.groups?.['pid'] ?? process.pid);
    if (!processLives(pid)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  return mkdtempSync(join(tmpdir(), `${prefix}-${process.pid}-`));
}
