/** What pods get of the name service of the node, as its resolv.conf changes. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { NodeDns } from '../../../../src/kubelet/environment/node-dns.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { recordingLog } from '../../informer/widgets.ts';

let folder: string;
let lines: readonly string[];

beforeEach(() => {
  folder = ownFolder('swy-dns');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function dns(resolvConf: string, nodeIp = '10.1.0.1'): NodeDns {
  const recording = recordingLog();
  ({ lines } = recording);
  const config = { servers: ['10.96.0.10' as never], domain: 'cluster.local', resolvConf };
  return new NodeDns({ config, nodeIps: [nodeIp], log: recording.log });
}

test('is what the file says now', async () => {
  const path = join(folder, 'resolv.conf');
  const of = dns(path);
  writeFileSync(path, 'nameserver 192.0.2.1\n');
  await of.read();
  expect(of.sources).toEqual({
    clusterDNS: ['10.96.0.10'],
    clusterDomain: 'cluster.local',
    node: { servers: ['192.0.2.1'], searches: [], options: [] },
  });
  writeFileSync(path, 'nameserver 192.0.2.2\nsearch example.com\n');
  await of.read();
  expect(of.sources.node).toMatchObject({ servers: ['192.0.2.2'], searches: ['example.com'] });
  expect(lines).toEqual([]);
});

test('is what the file said last, where it is away, and nothing where it never was there; told once', async () => {
  const path = join(folder, 'resolv.conf');
  const of = dns(path);
  await of.read();
  await of.read();
  expect(of.sources.node).toEqual({ servers: [], searches: [], options: [] });
  expect(lines).toEqual([expect.stringMatching(/^warn: resolvConf cannot be read: .*ENOENT/)]);
  writeFileSync(path, 'nameserver 192.0.2.1\n');
  await of.read();
  rmSync(path);
  await of.read();
  expect(of.sources.node.servers).toEqual(['192.0.2.1']);
  expect(lines).toHaveLength(2);
});

test.each([
  ['10.1.0.1', '127.0.0.1'],
  ['fd00::1', '::1'],
])('on node %s without a file it is %s', async (nodeIp, server) => {
  const of = dns('', nodeIp);
  await of.read();
  expect(of.sources.node).toEqual({ servers: [server], searches: ['.'], options: [] });
  expect(lines).toEqual([]);
});
