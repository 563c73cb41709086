import { getCiphers } from 'node:tls';
import { expect, test } from 'vitest';
import { opensslName } from '../../../../../src/kubelet/server/access/cipher-name.ts';

/** Cipher suites by the names that a configuration has for them. */

test.each([
  ['TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA', 'ECDHE-RSA-AES256-SHA'],
  ['TLS_RSA_WITH_AES_128_GCM_SHA256', 'AES128-GCM-SHA256'],
])('%s is %s, which OpenSSL knows', (name, expected) => {
  expect(opensslName(name)).toBe(expected);
  expect(getCiphers()).toContain(expected.toLowerCase());
});
