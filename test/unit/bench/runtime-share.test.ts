import { expect, test } from 'vitest';
import { containerdShares } from '../../bench/kubelet/runtime-share.ts';

const log = (...lines: readonly (readonly [ms: number, message: string])[]): string =>
  lines
    .map(([ms, message]) => {
      const date = `2026-01-01T00:00:00.${String(ms).padStart(3, '0')}000000Z`;
      return `time="${date}" level=info msg="${message.replaceAll('"', String.raw`\"`)}"`;
    })
    .join('\n');

const meta = (name: string): string =>
  `&PodSandboxMetadata{Name:${name},Uid:u,Namespace:default,Attempt:0,}`;
const main = '&ContainerMetadata{Name:main,Attempt:0,}';

test('what containerd spends on a pod is the sum of its three calls, whatever else goes on meanwhile', () => {
  const text = log(
    [0, `RunPodSandbox for ${meta('a')}`],
    [10, `RunPodSandbox for ${meta('b')}`],
    [90, `RunPodSandbox for ${meta('a')} returns sandbox id "5a"`],
    [100, `CreateContainer within sandbox "5a" for container ${main}`],
    [108, `CreateContainer within sandbox "5a" for ${main} returns container id "ca"`],
    [150, `StartContainer for "ca"`],
    [210, `StartContainer for "ca" returns successfully`],
    [310, `RunPodSandbox for ${meta('b')} returns sandbox id "5b"`],
  );
  expect(Object.fromEntries(containerdShares(text))).toEqual({ a: 158, b: 300 });
});

test('lines of other kinds, and calls whose end the log does not have, count for nothing', () => {
  const text = `${log([0, `StopContainer for "ca"`], [5, `StartContainer for "cb"`])}\nnot a line\n`;
  expect(containerdShares(text).size).toBe(0);
});
