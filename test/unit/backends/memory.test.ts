// How much is kept of a Service on its way from objects to rules: small things, ten thousand times over.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { expect, it } from 'vitest';

it(
  'a Service of three endpoints takes at most 7 kB from objects to rules',
  { timeout: 120_000 },
  () => {
    const command = ['--expose-gc', join(import.meta.dirname, 'held-memory.ts')];
    // The same node whatever runs the tests: no options, loaders or coverage of theirs.
    const bytes = Number(execFileSync(process.execPath, command, { encoding: 'utf8', env: {} }));
    expect(bytes).toBeLessThan(7000);
    expect(bytes).toBeGreaterThan(1000);
  },
);
