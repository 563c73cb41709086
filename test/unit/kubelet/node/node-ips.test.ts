// Which address of a machine is the node's.
import { expect, test } from 'vitest';
import type { Address } from '../../../../src/ip/address.ts';
import { chooseNodeIps } from '../../../../src/kubelet/node/node-ips.ts';
import type { NodeIpInput } from '../../../../src/kubelet/node/node-ips.ts';

const ips = (...list: readonly string[]): Address[] => list as Address[];
const links = [
  { name: 'docker0', addresses: ips('172.17.0.1') },
  { name: 'eth0', addresses: ips('fe80::1', '10.1.0.5', 'fd00::5') },
  { name: 'lo', addresses: ips('127.0.0.1', '::1') },
];
const usual: NodeIpInput = {
  configured: [],
  hostname: 'n1',
  links,
  uplinks: ['eth0'],
  resolved: [],
};

const cases: readonly (readonly [string, Partial<NodeIpInput>, readonly string[]])[] = [
  ['the link with the default route', {}, ['10.1.0.5']],
  ['what is configured', { configured: ips('fd00::5', '172.17.0.1') }, ['fd00::5', '172.17.0.1']],
  ['the usual one of a family', { configured: ips('::') }, ['fd00::5']],
  ['the usual one of each family', { configured: ips('0.0.0.0', '::') }, ['10.1.0.5', 'fd00::5']],
  ['a host name that is an address', { hostname: '10.1.0.5' }, ['10.1.0.5']],
  ['what the host name stands for', { resolved: ips('127.0.1.1', '172.17.0.1') }, ['172.17.0.1']],
  ['no address of another machine', { resolved: ips('10.9.9.9') }, ['10.1.0.5']],
  ['any link where none has a default route', { uplinks: [] }, ['172.17.0.1']],
];

test.each(cases)('it is %s', (_what, more, expected) => {
  expect(chooseNodeIps({ ...usual, ...more })).toEqual(expected);
});

const errors: readonly (readonly [string, Partial<NodeIpInput>, string])[] = [
  [
    'is configured and no address of this machine',
    { configured: ips('10.9.9.9') },
    '10.9.9.9 is no address of this machine',
  ],
  ['is not there', { links: links.slice(2) }, 'no address that a node could be reached by'],
  [
    'is of a family that is not there',
    { configured: ips('::'), links: links.slice(0, 1) },
    'no link with a default route has an address of ipv6',
  ],
];

test.each(errors)('an address that %s is an error by name', (_what, more, message) => {
  expect(() => chooseNodeIps({ ...usual, ...more })).toThrow(message);
});
