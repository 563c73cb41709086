// Which name the node has.
import { expect, test } from 'vitest';
import { nodeNameOf } from '../../../../src/kubelet/base/node-name.ts';

test('the node is called as the machine, or as it is told', () => {
  expect(nodeNameOf('', 'Edge-7\n')).toBe('edge-7');
  expect(nodeNameOf('other', 'Edge-7')).toBe('other');
});

test('a host name that no node can have is refused with the way out', () => {
  expect(() => nodeNameOf('', 'my_machine')).toThrow('the host name "my_machine" is no name');
  expect(() => nodeNameOf('', '')).toThrow('it is empty');
  expect(() => nodeNameOf('a/b', 'fine')).toThrow('--hostname-override "a/b"');
});
