// An agent that is resident on each node begins again with a small native heap: as the same process, with the same words.
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { expect, it } from 'vitest';

const main = new URL('../../../src/cli/main.ts', import.meta.url).pathname;
/** Says at its end which process it is, and what the allocator was told. */
const hook = `data:text/javascript,${encodeURIComponent(
  "process.on('exit', () => console.log(JSON.stringify([process.pid, process.env.MALLOC_ARENA_MAX ?? null])))",
)}`;

function run(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly pid: number; readonly status: number | null; readonly told: unknown; said: string } {
  const { MALLOC_ARENA_MAX: _, ...rest } = process.env;
  const command = ['--import', hook, main, ...words];
  const options = { encoding: 'utf8', env: { ...rest, ...env } } as const;
  const { pid, status, stdout, stderr } = spawnSync(process.execPath, command, options);
  return { pid, status, told: JSON.parse(stdout), said: stderr };
}

it.each([
  ['kubelet', {}, '1'],
  ['node', {}, '1'],
  ['kubelet', { MALLOC_ARENA_MAX: '3' }, '3'],
  ['proxy', {}, null],
] as const)('switchyard %s, in an environment of %o', (command, env, wanted) => {
  const { pid, status, told, said } = run([command, '--no such flag'], env);
  expect(told).toEqual([pid, wanted]);
  expect(status).toBe(2);
  expect(said).toContain('unknown flag --no such flag');
});
