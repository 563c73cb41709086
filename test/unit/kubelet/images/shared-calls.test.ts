// Calls that are shared: who comes while one is under way, and who comes when nobody waits for it any more.
import { expect, test } from 'vitest';
import { SharedCalls } from '../../../../src/kubelet/images/shared-calls.ts';

/** Work that ends when the test says so. */
class Works {
  readonly begun: (PromiseWithResolvers<string> & { readonly signal: AbortSignal })[] = [];

  readonly work = async (signal: AbortSignal): Promise<string> => {
    const work = { ...Promise.withResolvers<string>(), signal };
    this.begun.push(work);
    return work.promise;
  };
}

const live = (): AbortSignal => new AbortController().signal;

test('one that is under way is shared, and goes on while anybody waits for it', async () => {
  const calls = new SharedCalls<string>();
  const works = new Works();
  const leaving = new AbortController();
  const first = calls.call('a', works.work, leaving.signal);
  const second = calls.call('a', works.work, live());
  leaving.abort(new Error('deleted'));
  await expect(first).rejects.toThrow('deleted');
  expect(works.begun.map(({ signal }) => signal.aborted)).toEqual([false]);
  works.begun[0]?.resolve('done');
  expect(await second).toBe('done');
});

test('who comes after the last one has left has a call of its own, although the former has not ended yet', async () => {
  const calls = new SharedCalls<string>();
  const works = new Works();
  const leaving = new AbortController();
  const first = calls.call('a', works.work, leaving.signal);
  leaving.abort(new Error('deleted'));
  await expect(first).rejects.toThrow('deleted');
  expect(works.begun[0]?.signal.aborted).toBe(true);
  const second = calls.call('a', works.work, live());
  // the end of the former takes nothing of the one that is under way now
  works.begun[0]?.reject(new Error('ended'));
  await expect(works.begun[0]?.promise).rejects.toThrow('ended');
  const third = calls.call('a', works.work, live());
  expect(works.begun.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  works.begun[1]?.resolve('done');
  expect(await Promise.all([second, third])).toEqual(['done', 'done']);
});
