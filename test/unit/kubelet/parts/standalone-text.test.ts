import { expect, test } from 'vitest';
import { standaloneText } from '../../../../src/kubelet/parts/standalone-text.ts';

test('a kubelet without an API server says what it runs and how to look at it', () => {
  const sources = [{ place: '/etc/pods' }, { place: 'http://a/b' }];
  expect(standaloneText('n1', sources, true)).toBe(
    'without an API server: runs the static pods of /etc/pods and http://a/b, each as NAME-n1; switchyard ps, logs and exec look at them',
  );
  expect(standaloneText('n1', sources, false)).toMatch(/NAME-n1$/);
});
