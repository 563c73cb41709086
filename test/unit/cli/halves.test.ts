// How two agents of one process end: together, in order, and with a word on whose fault it was.
import { describe, expect, it } from 'vitest';
import type { CommandIo } from '../../../src/cli/command.ts';
import { together } from '../../../src/cli/halves.ts';
import type { Half } from '../../../src/cli/halves.ts';
import type { FlagTable } from '../../../src/config/flag-table.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { aborted } from '../../../src/informer/wakeup.ts';

const flags: FlagTable = [{ name: 'color', type: 'string', placeholder: 'NAME', help: 'A color.' }];

type Work = (signal: AbortSignal) => Promise<void>;

const untilAsked: Work = async (signal) => aborted(signal);

function half(name: string, work: Work, argv: readonly string[] = []): Half {
  return {
    name,
    flags,
    argv,
    run: async (_flags, { signal }) => {
      await work(signal);
      return 0;
    },
  };
}

const failing =
  (error: Error): Work =>
  async () => {
    throw error;
  };

const connect = async (): Promise<never> => Promise.reject(new Error('nobody connects'));

async function run(halves: readonly Half[], signal = new AbortController().signal) {
  let said = '';
  const io: CommandIo = {
    stdout: () => undefined,
    stderr: (text) => void (said += text),
    stdin: async () => '',
    env: {},
    signal,
  };
  const end = await together(halves, { connect }, io).then(
    (status) => ({ status }),
    (error: unknown) => {
      const { code, message, hint } = error as SwitchyardError;
      return { code, message, hint };
    },
  );
  return { ...end, said };
}

describe('two halves', () => {
  it('end with 0 when they are asked to, and not before each has ended its work', async () => {
    const order: string[] = [];
    const slow: Work = async (signal) => {
      await aborted(signal);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      order.push('slow');
    };
    const stop = new AbortController();
    const done = run([half('a', slow), half('b', untilAsked)], stop.signal);
    stop.abort();
    expect([await done, order]).toEqual([{ status: 0, said: '' }, ['slow']]);
  });

  it('end together where one fails, with its error under its name', async () => {
    let hasEnded = false;
    const other: Work = async (signal) => {
      await aborted(signal);
      hasEnded = true;
    };
    const error = new SwitchyardError('missing', 'no socket\nno disk', { hint: 'mend it' });
    expect(await run([half('a', failing(error)), half('b', other)])).toEqual({
      code: 'missing',
      message: 'a: no socket\na: no disk',
      hint: 'mend it',
      said: '',
    });
    expect(hasEnded).toBe(true);
  });

  it('say both what failed where both do', async () => {
    expect(
      await run([half('a', failing(new Error('x'))), half('b', failing(new Error('y')))]),
    ).toMatchObject({
      code: 'internal',
      message: 'a: x\nb: y',
    });
  });

  it('fail where one ends though nobody has asked it to', async () => {
    expect(await run([half('a', async () => {}), half('b', untilAsked)])).toMatchObject({
      code: 'usage',
      message: 'a: it has ended, though nobody has asked it to',
      hint: expect.stringContaining('switchyard a alone') as string,
    });
  });

  it('do not begin where the flags of one cannot be read', async () => {
    let hasBegun = false;
    const begins: Work = async () => {
      hasBegun = true;
    };
    expect(await run([half('a', begins), half('b', begins, ['--colour=red'])])).toMatchObject({
      code: 'usage',
      message: 'b: unknown flag --colour',
    });
    expect(hasBegun).toBe(false);
  });
});
