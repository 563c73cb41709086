/**
 * OpenSSL's name of a cipher suite that the configuration names as the RFCs do: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` is
 * `ECDHE-RSA-AES128-GCM-SHA256` there. Those of TLS 1.3 have one name.
 */
export function opensslName(name: string): string {
  const match = /^TLS_(\w+)_WITH_(\w+)$/.exec(name);
  if (match === null) return name;
  const [, exchange = '', cipher = ''] = match;
  const short = cipher
    .replace(/^AES_(\d+)_CBC_/, 'AES$1_')
    .replace(/^AES_/, 'AES')
    .replace('CHACHA20_POLY1305_SHA256', 'CHACHA20_POLY1305')
    .replace('3DES_EDE_CBC', 'DES_CBC3');
  const whole = exchange === 'RSA' ? short : `${exchange}_${short}`;
  return whole.replaceAll('_', '-');
}
