// The results of probes, by the container that they are about.
import { expect, test } from 'vitest';
import { ProbeResultTable } from '../../../../src/kubelet/probes/results.ts';

test('a container is the same by the id of the runtime and by that of the API', () => {
  const table = new ProbeResultTable();
  expect(
    table.set('uid', 'app', 'readiness', { containerId: 'containerd://a', result: 'success' }),
  ).toBe(true);
  expect(table.result('uid', 'a', 'readiness')).toBe('success');
  expect(table.result('uid', 'containerd://a', 'readiness')).toBe('success');
  expect(table.result('uid', 'b', 'readiness')).toBeUndefined();
  expect(table.result('uid', 'a', 'liveness')).toBeUndefined();
  expect(table.set('uid', 'app', 'readiness', { containerId: 'a', result: 'success' })).toBe(false);
});
