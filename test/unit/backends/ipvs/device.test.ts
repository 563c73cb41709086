// The addresses of kube-ipvs0: what is read, what is written, and what a refusal means.
import { describe, expect, it } from 'vitest';
import { changeDevice, diffDevice, readDevice } from '../../../../src/backends/ipvs/device.ts';
import type { DeviceChanges } from '../../../../src/backends/ipvs/device.ts';
import type { Address } from '../../../../src/ip/address.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import type { Answer } from '../../../support/fake-tool-runner.ts';

const { signal } = new AbortController();
const [a, b, c] = ['10.96.0.1', '10.96.0.2', '10.96.0.3'] as Address[] as [
  Address,
  Address,
  Address,
];
const v6 = 'fd00::1' as Address;
const none: DeviceChanges = { create: false, add: [], remove: [] };

/** As iproute2 6.1 prints it. */
const shown = JSON.stringify([
  {
    ifname: 'kube-ipvs0',
    flags: ['BROADCAST', 'NOARP'],
    operstate: 'DOWN',
    addr_info: [
      { family: 'inet', local: a, prefixlen: 32 },
      { family: 'inet6', local: v6, prefixlen: 128, nodad: true },
      { family: 'inet6', local: 'fe80::f8d6:acff:fe08:1', prefixlen: 64 },
    ],
  },
]);

const lone = (address: Address) => ({ address, length: address.includes(':') ? 128 : 32 });
const alone = (...all: readonly Address[]) =>
  new Map(all.map((address) => [address, [lone(address).length]]));

async function change(changes: Partial<DeviceChanges>, answer?: Answer) {
  const tools = new FakeToolRunner(() => answer);
  const refused = await changeDevice({ ...none, ...changes }, tools, signal);
  return { refused, runs: tools.runs };
}

describe('kube-ipvs0', () => {
  it('is read a family at a time, link-local addresses left out', async () => {
    const tools = new FakeToolRunner(() => ({ stdout: shown }));
    expect([...((await readDevice('ipv4', tools, signal)) ?? [])]).toEqual([[a, [32]]]);
    expect([...((await readDevice('ipv6', tools, signal)) ?? [])]).toEqual([[v6, [128]]]);
    expect((await readDevice('both', tools, signal))?.size).toBe(2);
  });

  it('is known to be missing, which is not the same as empty', async () => {
    const stderr = 'Device "kube-ipvs0" does not exist.\n';
    const missing = new FakeToolRunner(() => ({ exitCode: 1, stderr }));
    expect(await readDevice('ipv4', missing, signal)).toBeUndefined();
    const broken = new FakeToolRunner(() => ({
      exitCode: 1,
      stderr: 'Cannot open netlink socket',
    }));
    await expect(readDevice('ipv4', broken, signal)).rejects.toMatchObject({ retryable: true });
  });

  it('gets what is wanted and loses what is not, but for excluded addresses', () => {
    const changes = diffDevice(alone(a, b), new Map([[c, 1]]), (address) => address === b);
    expect(changes).toEqual({ create: false, add: [c], remove: [lone(a)] });
  });

  it('loses the prefix of a network, which somebody else has bound, also where the address is wanted', () => {
    const bound = new Map([
      [a, [24]],
      [b, [24, 32]],
      [c, [24]],
    ]);
    const wanted = new Map([a, b].map((address) => [address, 1]));
    expect(diffDevice(bound, wanted, () => false)).toEqual({
      create: false,
      add: [a],
      remove: [a, b, c].map((address) => ({ address, length: 24 })),
    });
  });

  it('is changed in one run, which goes on after what is refused; IPv6 without duplicate detection', async () => {
    const { runs, refused } = await change({ create: true, add: [a, v6], remove: [lone(b)] });
    expect(runs.map(({ tool, args }) => [tool, ...args].join(' '))).toEqual(['ip -force -batch -']);
    expect(runs[0]?.input.trim().split('\n')).toEqual([
      'link add kube-ipvs0 type dummy',
      'link set dev kube-ipvs0 addrgenmode none',
      `address add ${a}/32 dev kube-ipvs0`,
      `address add ${v6}/128 dev kube-ipvs0 nodad`,
      `address del ${b}/32 dev kube-ipvs0`,
    ]);
    expect(refused).toEqual([]);
  });

  it('costs no run where there is nothing to do, and is not made for nothing', async () => {
    expect((await change({})).runs).toEqual([]);
    expect((await change({ create: true })).runs).toEqual([]);
  });

  it('takes what is done already for done', async () => {
    const stderr = [
      ['File exists', 1],
      ['Operation not supported', 2],
      ['File exists', 3],
      ['Cannot assign requested address', 4],
    ].map(([words, line]) => `RTNETLINK answers: ${words}\nCommand failed -:${line}\n`);
    const changes = { create: true, add: [a], remove: [lone(b)] };
    const { refused } = await change(changes, { exitCode: 1, stderr: stderr.join('') });
    expect(refused).toEqual([]);
  });

  it('takes it for done in the words of Linux 6.6 and newer, too', async () => {
    const stderr = [
      ['ipv4: Address already assigned.', 1],
      ['ipv6: address already assigned.', 2],
      ['ipv4: Address not found.', 3],
      ['ipv6: address not found.', 4],
    ].map(([words, line]) => `Error: ${words}\nCommand failed -:${line}\n`);
    const changes = { add: [a, v6], remove: [lone(b), lone(v6)] };
    const { refused } = await change(changes, { exitCode: 1, stderr: stderr.join('') });
    expect(refused).toEqual([]);
  });

  it('names the address that was refused', async () => {
    const stderr = 'RTNETLINK answers: Permission denied\nCommand failed -:2\n';
    const { refused } = await change({ add: [a, v6] }, { exitCode: 1, stderr });
    expect(refused).toEqual([{ address: v6, isRemoval: false, words: 'Permission denied' }]);
  });

  it.each([
    [
      'there is no module for it',
      { create: true, add: [a] },
      'RTNETLINK answers: Operation not supported\nCommand failed -:1\n',
    ],
    ['it is gone', { add: [a] }, 'Cannot find device "kube-ipvs0"\nCommand failed -:1\n'],
    [
      'the tool cannot read a line',
      { add: [a] },
      'Error: any valid prefix is expected rather than "x".\n',
    ],
  ])('fails as a whole where %s', async (_, changes, stderr) => {
    await expect(change(changes, { exitCode: 1, stderr })).rejects.toMatchObject({
      code: 'tool',
      retryable: true,
    });
  });
});
