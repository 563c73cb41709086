/** Programs that are no tools of the node: what they are given, and what is taken of what they say. */
import { expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { runProgram } from '../../../src/host/run-program.ts';

const { signal } = new AbortController();

async function run(script: string, input?: string): Promise<string> {
  const program = { command: '/bin/sh', args: ['-c', script], env: { PATH: '/bin:/usr/bin' } };
  const given = input === undefined ? {} : { input };
  return runProgram({ ...program, ...given, timeoutMs: 60_000 }, systemClock, signal);
}

it('reads its input to the end, and there is none unless one is given', async () => {
  expect(await run('cat; echo end', 'a request\n')).toBe('a request\nend\n');
  expect(await run('cat; echo end')).toBe('end\n');
});

it('may leave its input unread', async () => {
  expect(await run('echo done', 'x'.repeat(1_000_000))).toBe('done\n');
});

it('is ended where it says more than anybody wants', async () => {
  await expect(run('cat /dev/zero')).rejects.toThrow('said more than');
});

it('is told by what it complained of, in part', async () => {
  await expect(run('head -c 100000 /dev/zero | tr "\\0" x >&2; exit 3')).rejects.toThrow(
    /^ended with 3 and said: x{500}$/,
  );
});
