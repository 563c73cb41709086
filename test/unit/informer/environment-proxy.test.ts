import { expect, test } from 'vitest';

import { environmentProxy } from '../../../src/informer/environment-proxy.ts';

const proxies = { HTTPS_PROXY: 'http://secure:3128', HTTP_PROXY: 'plain:3128' };

function proxyOf(url: string, env: Readonly<Record<string, string>> = proxies): string | undefined {
  return environmentProxy(new URL(url), env);
}

test('the scheme of the URL chooses the variable, and a bare host is an http proxy', () => {
  expect(proxyOf('https://api:6443')).toBe('http://secure:3128');
  expect(proxyOf('http://api:8080')).toBe('http://plain:3128');
  expect(proxyOf('https://api:6443', { https_proxy: 'socks5://p' })).toBe('socks5://p');
  expect(proxyOf('https://api:6443', { HTTP_PROXY: 'plain' })).toBeUndefined();
});

test.each([
  ['http://me:secret@[broken', 'HTTP_PROXY http://…@[broken: expected a URL such as'],
  ['ftp://proxy', 'HTTP_PROXY ftp://proxy: expected a URL such as'],
  ['proxy:99999', 'HTTP_PROXY http://proxy:99999: expected a URL such as'],
])('what is no proxy is named, without a password: %s', (proxy, words) => {
  expect(() => proxyOf('http://api', { HTTP_PROXY: proxy })).toThrow(words);
});

test.each(['https://localhost', 'https://127.0.0.9:6443', 'https://[::1]:6443'])(
  'the node itself is reached directly: %s',
  (url) => expect(proxyOf(url)).toBeUndefined(),
);

test.each([
  ['*', 'https://api.example', true],
  ['example', 'https://api.example', true],
  ['example', 'https://example', true],
  ['.example', 'https://api.example', true],
  ['.example', 'https://example', false],
  ['*.example', 'https://api.example', true],
  ['ample', 'https://example', false],
  ['EXAMPLE', 'https://api.Example', true],
  ['other, example', 'https://example', true],
  ['example:6443', 'https://example:6443', true],
  ['example:443', 'https://example', true],
  ['example:443', 'https://example:6443', false],
  ['10.0.0.1', 'https://10.0.0.1:6443', true],
  ['10.0.0.1', 'https://10.0.0.11:6443', false],
  ['10.0.0.1:6443', 'https://10.0.0.1:6443', true],
  ['10.0.0.0/8', 'https://10.9.9.9', true],
  ['10.0.0.0/8', 'https://11.0.0.1', false],
  ['10.0.0.0/99', 'https://10.0.0.1', false],
  ['fd00::/8', 'https://[fd12::1]:6443', true],
  ['fd00::1', 'https://[fd00::1]:6443', true],
  ['[fd00::1]:6443', 'https://[fd00::1]:6443', true],
  ['fd00::/8', 'https://10.0.0.1', false],
  ['', 'https://example', false],
])('NO_PROXY=%s and %s: direct is %s', (noProxy, url, direct) => {
  expect(proxyOf(url, { ...proxies, NO_PROXY: noProxy }) === undefined).toBe(direct);
});
