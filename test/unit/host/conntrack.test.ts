import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { conntrackUsage, deleteUdpFlows, parseEntries } from '../../../src/host/conntrack.ts';
import { applyConntrackSysctls, conntrackSysctls } from '../../../src/host/conntrack-sysctls.ts';
import { createSysctls } from '../../../src/host/sysctl.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { address } from '../../support/service-ports.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';

const { signal } = new AbortController();
const line =
  'ipv4     2 udp      17 99 src=10.0.0.1 dst=10.96.0.10 sport=999 dport=53 [UNREPLIED] src=10.1.1.1 dst=10.0.0.1 sport=5353 dport=999 mark=0 use=1';
const [entry] = parseEntries(line);

describe('reading connection tracking entries', () => {
  it('tells both directions apart', () => {
    expect(entry).toEqual({
      original: {
        source: '10.0.0.1',
        destination: '10.96.0.10',
        sourcePort: 999,
        destinationPort: 53,
      },
      reply: {
        source: '10.1.1.1',
        destination: '10.0.0.1',
        sourcePort: 5353,
        destinationPort: 999,
      },
    });
  });

  it.each([
    [
      'counters, zones, marks and ids',
      line.replace(' [UNREPLIED]', ' packets=1 bytes=60 zone=3').replace('use=1', 'id=77 secctx=x'),
    ],
    ['no family columns', line.replace('ipv4     2 ', '')],
    ['offload flags', line.replace('[UNREPLIED]', '[OFFLOAD]')],
  ])('does not mind %s', (_what, text) => {
    expect(parseEntries(text)).toEqual([entry]);
  });

  it('reads IPv6', () => {
    const text =
      'ipv6 10 udp 17 9 src=fd00::1 dst=fd96::10 sport=9 dport=53 src=fd01::1 dst=fd00::1 sport=53 dport=9 use=1';
    expect(parseEntries(text)[0]?.reply.source).toBe('fd01::1');
  });

  it.each(['', 'nonsense', 'src=1.2.3.4 dst=1.2.3.5 sport=1 dport=2', line.replace('999', 'x')])(
    'skips a line that lacks something: "%s"',
    (text) => {
      expect(parseEntries(text)).toEqual([]);
    },
  );
});

describe('deleting the flows of a path', () => {
  const path = {
    destination: address('10.96.0.10'),
    destinationPort: 53,
    replySource: address('10.1.1.1'),
    replySourcePort: 5353,
  };
  const summary = 'conntrack v1.4.7 (conntrack-tools): 7 flow entries have been deleted.';

  it('names destination and endpoint, no client, and tells how many there were', async () => {
    const tools = new FakeToolRunner(() => ({ stderr: summary }));
    expect(await deleteUdpFlows(tools, 'ipv4', path, signal)).toBe(7);
    expect(tools.runs[0]?.args.join(' ')).toBe(
      '-D -p udp -f ipv4 --orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 10.1.1.1 --reply-port-src 5353',
    );
  });

  it.each([
    ['conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.', /^0$/],
    ['conntrack: Operation not permitted', /not permitted/],
  ])('after exit code 1 with "%s"', async (stderr, expected) => {
    const tools = new FakeToolRunner(() => ({ exitCode: 1, stderr }));
    const outcome = await deleteUdpFlows(tools, 'ipv4', path, signal).then(
      String,
      (error: unknown) => String(error),
    );
    expect(outcome).toMatch(expected);
  });
});

const defaults = {
  maxPerCore: 32_768,
  min: 131_072,
  tcpEstablishedTimeoutSeconds: 86_400,
  tcpCloseWaitTimeoutSeconds: 3600,
  tcpBeLiberal: false,
  udpTimeoutSeconds: 0,
  udpStreamTimeoutSeconds: 0,
  accounting: false,
};

describe('connection tracking sysctls', () => {
  it.each([
    [2, '131072'],
    [8, '262144'],
  ])('allow at least the minimum of entries: %i CPUs', (cpus, max) => {
    expect(conntrackSysctls(defaults, cpus)).toEqual([
      ['net/netfilter/nf_conntrack_max', max],
      ['net/netfilter/nf_conntrack_tcp_timeout_established', '86400'],
      ['net/netfilter/nf_conntrack_tcp_timeout_close_wait', '3600'],
    ]);
  });

  it('are left alone where a value is 0, the minimum too', () => {
    const none = {
      ...defaults,
      maxPerCore: 0,
      tcpEstablishedTimeoutSeconds: 0,
      tcpCloseWaitTimeoutSeconds: 0,
    };
    expect(conntrackSysctls(none, 64)).toEqual([]);
    expect(conntrackSysctls({ ...none, tcpBeLiberal: true }, 64)).toEqual([
      ['net/netfilter/nf_conntrack_tcp_be_liberal', '1'],
    ]);
  });

  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'switchyard-sysctl-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  it('write what differs, and raise the hash size to a quarter of the limit', async () => {
    await mkdir(join(root, 'net/netfilter'), { recursive: true });
    await mkdir(join(root, 'cpus/cpu0'), { recursive: true });
    await mkdir(join(root, 'cpus/cpufreq'), { recursive: true });
    const key = (name: string) => join(root, 'net/netfilter', name);
    await writeFile(key('nf_conntrack_max'), '65536\n');
    await writeFile(key('nf_conntrack_tcp_timeout_established'), '86400\n');
    await writeFile(key('nf_conntrack_tcp_timeout_close_wait'), '60\n');
    await writeFile(join(root, 'hashsize'), '16384\n');
    const paths = { hashSize: join(root, 'hashsize'), cpus: join(root, 'cpus') };
    await applyConntrackSysctls(defaults, createSysctls(root), silentLog, paths);
    expect(await readFile(key('nf_conntrack_max'), 'utf8')).toBe('131072');
    expect(await readFile(key('nf_conntrack_tcp_timeout_established'), 'utf8')).toBe('86400\n');
    expect(await readFile(paths.hashSize, 'utf8')).toBe('32768');
  });

  it('tell how full the table is, and nothing where there is none', async () => {
    await mkdir(join(root, 'net/netfilter'), { recursive: true });
    expect(await conntrackUsage(root)).toBeUndefined();
    await writeFile(join(root, 'net/netfilter/nf_conntrack_count'), '12\n');
    await writeFile(join(root, 'net/netfilter/nf_conntrack_max'), '100\n');
    expect(await conntrackUsage(root)).toEqual({ entries: 12, limit: 100 });
  });

  it('name the file and the module where a key is not there', async () => {
    const write = createSysctls(root).write('net/netfilter/nf_conntrack_max', '1');
    await expect(write).rejects.toMatchObject({
      code: 'missing',
      hint: expect.stringContaining('nf_conntrack'),
    });
  });
});
