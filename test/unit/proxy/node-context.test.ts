/** At which addresses of the node node ports answer, by what nodePortAddresses says. */
import { describe, expect, it } from 'vitest';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import type { Address } from '../../../src/ip/address.ts';
import { nodeContextOf } from '../../../src/proxy/node-context.ts';

const facts = {
  nodeName: 'node-a',
  nodeIPs: ['192.0.2.1', '2001:db8::1'] as Address[],
  interfaceAddresses: [
    '127.0.0.1',
    '::1',
    '192.0.2.1',
    '10.9.0.1',
    '2001:db8::1',
    'fd00::1',
  ] as Address[],
  podCidrs: [],
  serviceCidrs: [],
};

function where(flag: string, ...more: readonly string[]) {
  const argv = [`--nodeport-addresses=${flag}`, ...more];
  const settings = proxyConfig(parseFlags(proxyFlags, argv).flags);
  const [v4, v6] = (['ipv4', 'ipv6'] as const).map((family) => {
    const { nodePortAddresses } = nodeContextOf(settings, facts, family);
    return nodePortAddresses.kind === 'list' ? nodePortAddresses.addresses : 'all';
  });
  return { v4, v6 };
}

describe('node ports answer', () => {
  it.each([
    ['', 'all', 'all'],
    ['all', 'all', 'all'],
    ['primary', ['192.0.2.1'], ['2001:db8::1']],
    ['10.0.0.0/8', ['10.9.0.1'], 'all'],
    ['10.0.0.0/8,fd00::/8', ['10.9.0.1'], ['fd00::1']],
    ['localhost', ['127.0.0.1'], []],
    ['localhost,10.0.0.0/8', ['10.9.0.1', '127.0.0.1'], []],
    ['primary,localhost', ['127.0.0.1', '192.0.2.1'], ['2001:db8::1']],
    ['primary,10.0.0.0/8,192.0.0.0/8', ['10.9.0.1', '192.0.2.1'], ['2001:db8::1']],
    ['primary,0.0.0.0/0', 'all', ['2001:db8::1']],
  ])('with --nodeport-addresses=%s at %j and %j', (flag, v4, v6) => {
    expect(where(flag)).toEqual({ v4, v6 });
  });

  it('never at 127.0.0.1 where that is turned off', () => {
    const off = '--iptables-localhost-nodeports=false';
    expect(where('localhost,10.0.0.0/8', off)).toEqual({ v4: ['10.9.0.1'], v6: [] });
  });
});
