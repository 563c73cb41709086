// What a kubelet without an API server says of itself, and which name its node has.
import { expect, test } from 'vitest';
import { nodeNameOf, standaloneText } from '../../../../src/kubelet/base/node-name.ts';

test('the node is called as the machine, or as it is told', () => {
  expect(nodeNameOf('', 'Edge-7\n')).toBe('edge-7');
  expect(nodeNameOf('other', 'Edge-7')).toBe('other');
});

test('a host name that no node can have is refused with the way out', () => {
  expect(() => nodeNameOf('', 'my_machine')).toThrow('the host name "my_machine" is no name');
  expect(() => nodeNameOf('', '')).toThrow('it is empty');
  expect(() => nodeNameOf('a/b', 'fine')).toThrow('--hostname-override "a/b"');
});

test('it says what it runs and how to look at it', () => {
  const sources = [{ place: '/etc/pods' }, { place: 'http://a/b' }];
  expect(standaloneText('n1', sources, true)).toBe(
    'without an API server: runs the static pods of /etc/pods and http://a/b, each as NAME-n1; switchyard ps, logs and exec look at them',
  );
  expect(standaloneText('n1', sources, false)).toMatch(/NAME-n1$/);
});
