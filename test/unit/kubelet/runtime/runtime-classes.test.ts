/** Which handler a pod's RuntimeClass means, and what is said where that cannot be told. */
import { expect, test } from 'vitest';
import type { ObjectAnswer } from '../../../../src/kubelet/api/object-api.ts';
import { RuntimeClasses } from '../../../../src/kubelet/runtime/runtime-classes.ts';
import { pod } from './made-pods.ts';

const { signal } = new AbortController();
const kata = pod({ runtimeClassName: 'kata' });

function answer(status: number, handler = ''): ObjectAnswer {
  const object = { metadata: { name: 'kata', uid: 'c' }, handler };
  const reason = `status ${status}`;
  return { status, object: status === 200 ? object : undefined, reason, retryAfterMs: undefined };
}

/** Classes of an API server that gives these answers, one after the other; an Error is none. */
function classes(...answers: readonly (ObjectAnswer | Error)[]) {
  const left = [...answers];
  const asked: string[] = [];
  const get = async (path: string): Promise<ObjectAnswer> => {
    asked.push(path);
    const next = left.shift();
    if (next === undefined) throw new Error('asked once more than there are answers');
    if (next instanceof Error) throw next;
    return next;
  };
  return { classes: new RuntimeClasses({ get }), asked };
}

test('a pod without a class has the usual one, and nobody is asked', async () => {
  const { classes: found, asked } = classes();
  expect(await found.of(pod(), signal)).toBe('');
  expect(await found.of(pod({ runtimeClassName: '' }), signal)).toBe('');
  expect(asked).toEqual([]);
});

test('a class says its handler, each time anew', async () => {
  const { classes: found, asked } = classes(answer(200, 'kata-qemu'), answer(200, 'kata-fc'));
  expect(await found.of(kata, signal)).toBe('kata-qemu');
  expect(await found.of(kata, signal)).toBe('kata-fc');
  expect(asked[0]).toBe('/apis/node.k8s.io/v1/runtimeclasses/kata');
});

test('while the API server is away the last one counts, but not after the class was gone', async () => {
  const away = new Error('nobody answers');
  const { classes: found } = classes(answer(200, 'kata-qemu'), away, answer(404), away);
  await found.of(kata, signal);
  expect(await found.of(kata, signal)).toBe('kata-qemu');
  await expect(found.of(kata, signal)).rejects.toThrow('runtimeclass.node.k8s.io "kata" not found');
  await expect(found.of(kata, signal)).rejects.toThrow(
    'failed to get RuntimeClass "kata": nobody answers',
  );
});

test('what the API server refuses, and that there is none, is said', async () => {
  await expect(classes(answer(403)).classes.of(kata, signal)).rejects.toThrow('status 403');
  await expect(new RuntimeClasses(undefined).of(kata, signal)).rejects.toThrow('no API server');
});
