// Which virtual servers are taken for ours, by the sets beside them.
import { describe, expect, it } from 'vitest';
import {
  Ownership,
  isUpstreamNaming,
  savedMembers,
  readMembers,
} from '../../../../src/backends/ipvs/ownership.ts';
import type { BoundAddress } from '../../../../src/backends/ipvs/state.ts';
import type { Address } from '../../../../src/ip/address.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';

const saved = `create KUBE-IPVS-SERVED-1 hash:ip,port family inet hashsize 1024 maxelem 1048576 bucketsize 12 initval 0xadbc544a
add KUBE-IPVS-SERVED-1 10.96.0.1,tcp:80
create KUBE-IPVS-MASQ-ALL-1 hash:ip,port family inet hashsize 1024
add KUBE-IPVS-MASQ-ALL-1 10.96.0.2,tcp:80
create KUBE-6-IPVS-SERVED-1 hash:ip,port family inet6 hashsize 1024
add KUBE-6-IPVS-SERVED-1 fd00::1,tcp:80
create KUBE-IPVS-DROP-ALL-2 hash:ip,port family inet hashsize 1024
add KUBE-IPVS-DROP-ALL-2 10.96.0.3,sctp:99
create KUBE-IPVS-SERVED-1-T hash:ip,port family inet hashsize 1024
add KUBE-IPVS-SERVED-1-T 10.96.0.4,tcp:80
create KUBE-NODE-PORT-UDP bitmap:port range 0-65535
add KUBE-NODE-PORT-UDP 30053
create KUBE-6-CLUSTER-IP hash:ip,port family inet6 hashsize 1024
add KUBE-6-CLUSTER-IP fd00::7,udp:53
create mine hash:ip,port family inet hashsize 1024
add mine 10.96.0.5,tcp:80
`;

const server = (protocol: 'TCP' | 'UDP' | 'SCTP', address: string, port: number) => ({
  protocol,
  address: address as Address,
  port,
});

describe('ownership of virtual servers', () => {
  const v4 = new Ownership(savedMembers(saved, 'ipv4'), ['10.96.0.6' as Address]);
  const v6 = new Ownership(savedMembers(saved, 'ipv6'), []);

  it.each([
    [server('TCP', '10.96.0.1', 80), true],
    [server('UDP', '10.96.0.1', 80), false],
    [server('TCP', '10.96.0.2', 80), false],
    [server('SCTP', '10.96.0.3', 99), true],
    [server('TCP', '10.96.0.4', 80), false],
    [server('TCP', '10.96.0.5', 80), false],
    [server('TCP', '10.96.0.6', 8080), true],
    [server('UDP', '192.0.2.1', 30053), true],
    [server('TCP', '192.0.2.1', 30053), false],
  ])('of IPv4: %j is ours: %s', (each, isOurs) => {
    expect(v4.isOurs(each)).toBe(isOurs);
  });

  it.each([
    [server('TCP', 'fd00::1', 80), true],
    [server('UDP', 'fd00::7', 53), true],
    [server('TCP', 'fd00::7', 53), false],
  ])('of IPv6: %j is ours: %s', (each, isOurs) => {
    expect(v6.isOurs(each)).toBe(isOurs);
  });

  it('names what a killed agent left served or marked without a server, where the address is bound', () => {
    const bound = ['10.96.0.1', '10.96.0.2', '10.96.0.3'] as Address[];
    const addresses = new Map(bound.map((address) => [address, {} as BoundAddress]));
    const none = new Map();
    const places = v4.formerPlaces({ addresses, servers: none }, none);
    // Those that are only dropped or refused cannot reach the node's own sockets.
    expect(places.map(({ address, port }) => `${address}:${port}`)).toEqual([
      '10.96.0.1:80',
      '10.96.0.2:80',
    ]);
  });

  it('tells the sets of kube-proxy from ours', () => {
    const sets = [...savedMembers(saved, 'ipv4').keys(), ...savedMembers(saved, 'ipv6').keys()];
    expect(sets.filter(isUpstreamNaming)).toEqual(['KUBE-NODE-PORT-UDP', 'KUBE-6-CLUSTER-IP']);
  });

  it('is not believed of half an output: servers of ours would stay for ever', async () => {
    const tools = new FakeToolRunner(() => ({ stdout: saved.slice(0, -5) }));
    const { signal } = new AbortController();
    await expect(readMembers('ipv4', tools, signal)).rejects.toThrow(/breaks off/);
  });
});
