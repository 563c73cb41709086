import { describe, expect, it } from 'vitest';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import type { Family } from '../../../src/ip/address.ts';
import { tellSettings } from '../../../src/proxy/settings-notices.ts';
import { silentLog } from '../../../src/telemetry/log.ts';

function told(argv: readonly string[], families: readonly Family[], primary: Family = 'ipv4') {
  const said: string[] = [];
  const settings = proxyConfig(parseFlags(proxyFlags, argv).flags);
  const log = {
    ...silentLog,
    info: (_: object, text: string) => void said.push(`info: ${text}`),
    warn: (_: object, text: string) => void said.push(`warn: ${text}`),
  };
  tellSettings(settings, { families, primary }, log);
  return said;
}

const both = ['ipv4', 'ipv6'] as const;
const narrow = '--nodeport-addresses=primary';

describe('what is said of the settings at the start', () => {
  it.each<[string, readonly string[], readonly Family[], Family, readonly string[]]>([
    [
      'node ports everywhere',
      ['--cluster-cidr=10.0.0.0/8'],
      both,
      'ipv4',
      ['info: node ports answer on all addresses of this node; nodePortAddresses narrows them'],
    ],
    ['a cluster of one family', [narrow, '--cluster-cidr=10.0.0.0/8'], both, 'ipv4', []],
    [
      'no CIDR at all',
      [narrow],
      both,
      'ipv4',
      ["info: clusterCIDR is empty: traffic of this node's pods is not told from others'"],
    ],
    [
      'no CIDR of the family of the node',
      [narrow, '--cluster-cidr=10.0.0.0/8'],
      both,
      'ipv6',
      [
        "warn: clusterCIDR has none of IPv6, the family of this node: traffic of its pods is not told from others'",
      ],
    ],
    [
      'a CIDR of a family that is not served',
      [narrow, '--cluster-cidr=10.0.0.0/8,fd00::/8'],
      ['ipv4'],
      'ipv4',
      ['warn: clusterCIDR has fd00::/8, but IPv6 is not served here'],
    ],
    ['pods known by another mark', [narrow, '--detect-local-mode=NodeCIDR'], both, 'ipv4', []],
    ['sockets in place of rules', ['--mode=userspace'], both, 'ipv4', []],
  ])('%s', (_, argv, families, primary, expected) => {
    expect(told(argv, families, primary)).toEqual(expected);
  });
});
