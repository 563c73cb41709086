// What a container left to say, and how much of it is taken.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import {
  firstBytes,
  messageShare,
  readTerminationMessage,
} from '../../../../src/kubelet/status/termination-message.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'termination-'));
});

afterEach(async () => rm(folder, { recursive: true }));

interface Left {
  readonly file?: string;
  readonly log?: string;
  readonly exitCode?: number;
  readonly policy?: 'File' | 'FallbackToLogsOnError';
}

async function read({
  file,
  log,
  exitCode = 1,
  policy = 'FallbackToLogsOnError',
}: Left): Promise<string> {
  const terminationMessageFile = join(folder, 'message');
  const logPath = join(folder, 'log');
  if (file !== undefined) await writeFile(terminationMessageFile, file);
  if (log !== undefined) await writeFile(logPath, log);
  return readTerminationMessage(
    { terminationMessageFile, logPath, exitCode },
    { terminationMessagePolicy: policy },
  );
}

const line = (text: string, tag = 'F'): string => `2026-01-01T00:00:00.1Z stdout ${tag} ${text}\n`;

describe('a termination message', () => {
  test.each([
    ['of the file', { file: 'DONE' }, 'DONE'],
    ['of the file before the log', { file: 'DONE', log: line('x') }, 'DONE'],
    ['of the log where the file is empty', { file: '', log: line('a') + line('b') }, 'a\nb'],
    ['of the log where there is no file', { log: line('a') }, 'a'],
    ['none after success', { log: line('a'), exitCode: 0 }, ''],
    ['none where the policy is the file alone', { log: line('a'), policy: 'File' }, ''],
    ['none where nothing is there', {}, ''],
    ['of lines that the runtime cut', { log: line('one', 'P') + line(' line') }, 'one line'],
  ] as const)('is %s', async (_what, left, expected) => {
    expect(await read(left)).toBe(expected);
  });

  it('is the last 4096 bytes of a file, in whole characters', async () => {
    expect(await read({ file: `${'a'.repeat(5000)}end` })).toBe(`${'a'.repeat(4093)}end`);
    expect(await read({ file: `${'é'.repeat(3000)}e` })).toBe(`${'é'.repeat(2047)}e`);
  });

  it('is the last 80 lines or 2048 bytes of a log', async () => {
    const lines = Array.from({ length: 100 }, (_, at) => line(`${at}`)).join('');
    expect((await read({ log: lines })).split('\n')).toEqual(
      Array.from({ length: 80 }, (_, at) => `${at + 20}`),
    );
    expect(await read({ log: line('x'.repeat(3000)) + line('end') })).toBe(
      `${'x'.repeat(2044)}\nend`,
    );
  });

  it('that cannot be read says so', async () => {
    const odd = { terminationMessageFile: folder, logPath: '', exitCode: 1 };
    const text = await readTerminationMessage(odd, { terminationMessagePolicy: 'File' });
    expect(text).toMatch(/^Error on reading termination message: .*EISDIR/);
  });
});

describe('the share of a container', () => {
  test.each([
    [1, 12_288],
    [3, 4096],
    [4, 3072],
    [0, 12_288],
  ])('of %i is %i bytes', (containers, bytes) => {
    expect(messageShare(containers)).toBe(bytes);
  });

  it('cuts no character in two', () => {
    expect(firstBytes('aé', 2)).toBe('a');
    expect(firstBytes('aé', 3)).toBe('aé');
  });
});
