// Userspace mode waits while an ipvs mode's addresses are the node's.
import { describe, expect, it } from 'vitest';
import { expectNoIpvsAddresses } from '../../../src/proxy/no-ipvs-addresses.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import { cidr } from '../../support/service-ports.ts';
import type { Answer } from '../../support/fake-tool-runner.ts';

const { signal } = new AbortController();

function linkWith(...addresses: readonly [family: string, local: string][]): Answer {
  const addr_info = addresses.map(([family, local]) => ({ family, local, scope: 'global' }));
  const link = { ifname: 'kube-ipvs0', flags: ['BROADCAST', 'NOARP'], addr_info };
  return { stdout: JSON.stringify([link]) };
}

const looked = async (answer: Answer): Promise<void> =>
  expectNoIpvsAddresses([cidr('203.0.113.0/24')], new FakeToolRunner(() => answer), signal);

describe('a mode that knows nothing of ipvs', () => {
  it.each<[string, Answer]>([
    ['there is no link', { exitCode: 1, stderr: 'Device "kube-ipvs0" does not exist.\n' }],
    ['nothing is on it', linkWith()],
    ['nothing is on it but what is excluded', linkWith(['inet', '203.0.113.9'])],
    ['there is no tool to look', 'missing'],
  ])('begins where %s', async (_, answer) => {
    await expect(looked(answer)).resolves.toBeUndefined();
  });

  it.each<[string, [string, string]]>([
    ['IPv4', ['inet', '10.96.0.10']],
    ['IPv6', ['inet6', 'fd00:10:96::10']],
  ])('waits where an address of %s is on it, and says what to do', async (label, address) => {
    await expect(looked(linkWith(address))).rejects.toMatchObject({
      message: expect.stringContaining(`1 address on kube-ipvs0 (${label})`) as string,
      retryable: true,
      hint: expect.stringContaining('switchyard cleanup') as string,
    });
  });
});
