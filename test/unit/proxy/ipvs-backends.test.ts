// How the backends of ipvs mode are opened: what is looked at and set first, and what they are made of.
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../../src/backends/backend.ts';
import type { IpvsBackendParts } from '../../../src/backends/ipvs/backend.ts';
import type { IpvsOptions } from '../../../src/backends/ipvs/options.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import type { Pool, PoolId } from '../../../src/graph/rule-graph.ts';
import type { Sysctls } from '../../../src/host/sysctl.ts';
import { prepareNode } from '../../../src/proxy/backends.ts';
import { openIpvs } from '../../../src/proxy/ipvs-backends.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../support/fake-tool-runner.ts';
import { emptyDelta, emptyGraph } from '../../support/iptables-states.ts';
import { VirtualClock } from './virtual-clock.ts';

const { signal } = new AbortController();

/** A machine whose tools all work, but for what the test says; what happens to it, in order. */
function machine(flags: readonly string[], answer: (run: RecordedRun) => Answer = () => undefined) {
  const happened: string[] = [];
  const tools = new FakeToolRunner((run) => {
    happened.push([run.tool, ...run.args, run.input].join(' ').trim());
    const said = answer(run);
    if (said !== undefined) return said;
    if (run.args.includes('--version')) {
      const known = run.tool === 'ipset' ? 'ipset v7.17' : `${run.tool} v1.8.9 (nf_tables)`;
      return { stdout: known };
    }
    // there is no kube-ipvs0 yet
    return run.args.includes('show') ? { exitCode: 1 } : undefined;
  });
  const sysctls: Sysctls = {
    read: async (key) => (key === 'kernel/osrelease' ? '6.1.0' : '0'),
    write: async (key, value) => happened.push(`${key}=${value}`) > 0,
  };
  const told =
    (level: string) =>
    (context: object, message: string): void =>
      void happened.push(`${level}: ${message} ${JSON.stringify(context)}`);
  const log: Log = { ...silentLog, info: told('info'), warn: told('warn'), error: told('error') };
  const config = proxyConfig(parseFlags(proxyFlags, ['--mode=ipvs', ...flags]).flags);
  const record = {
    noteFirewall: async () => undefined,
    read: async () => ({ sysctls: {}, firewalls: [] }),
  };
  const made: (IpvsBackendParts & { readonly settings: IpvsOptions })[] = [];
  const makeBackend = (parts: IpvsBackendParts, settings: IpvsOptions): Backend => {
    made.push({ ...parts, settings });
    return { mode: 'ipvs' } as Backend;
  };
  const [clock, random, print] = [new VirtualClock(), () => 0, () => {}];
  const options = { config, tools, sysctls, record, clock, random, print, env: {}, log };
  return { happened, made, options: { ...options, makeBackend } };
}

describe('the backends of ipvs mode', () => {
  it('are made for both families, of what the configuration says', async () => {
    const flags = [
      '--ipvs-scheduler=wlc',
      '--ipvs-drain-timeout=1m',
      '--ipvs-exclude-cidrs=10.9.9.0/24',
      '--iptables-masquerade-bit=3',
    ];
    const { options, made } = machine(flags);
    const opened = await openIpvs(options, signal);
    expect(opened.map(({ family, backend }) => [family, backend.mode])).toEqual([
      ['ipv4', 'ipvs'],
      ['ipv6', 'ipvs'],
    ]);
    expect(made.map(({ iptables }) => iptables.family)).toEqual(['ipv4', 'ipv6']);
    expect(made[0]).toMatchObject({
      settings: {
        features: { hairpin: 'bpf', randomFully: true },
        masqueradeMark: 8,
        conntrackBeLiberal: false,
        scheduler: 'wlc',
      },
      family: 'ipv4',
      drainSeconds: 60,
      lifetime: signal,
      excludeCidrs: ['10.9.9.0/24'],
    });
    expect(made[0]?.instanceId).not.toBe(made[1]?.instanceId);
  });

  it('tell what drains of each family', async () => {
    const { options, made } = machine([]);
    const told: unknown[] = [];
    const onDraining = (...each: readonly unknown[]): void => void told.push(each);
    await openIpvs({ ...options, onDraining }, signal);
    const draining = { count: 2, oldestMs: 5000 };
    for (const { onDraining: tell } of made) tell?.(draining);
    expect(told).toEqual([
      ['ipv4', draining],
      ['ipv6', draining],
    ]);
  });

  it('come after the checks and the sysctls; time-outs come with the first sync', async () => {
    const { options, happened } = machine(['--ipvs-tcp-timeout=5m', '--ipvs-strict-arp']);
    const opened = await openIpvs(options, signal);
    expect(happened).not.toContain('ipvsadm --set 300 0 0');
    const before = happened.length;
    const syncs = [opened[0], opened[0], opened[1]].map((each) => each?.backend);
    // What is opened here is no backend that could write anything.
    for (const backend of syncs)
      await backend?.sync(emptyGraph, emptyDelta, signal).catch(() => undefined);
    const set = happened.slice(before).filter((line) => line.startsWith('ipvsadm --set'));
    expect(set).toEqual(['ipvsadm --set 300 0 0']);
    const order = [
      'ipvsadm -L --timeout',
      '-A -t 198.51.100.0:20000 -s rr',
      'net/ipv4/vs/conntrack=1',
      'net/ipv4/conf/all/arp_announce=2',
      '-A -t [2001:db8::]:20000 -s rr',
    ].map((step) => happened.findIndex((line) => line.includes(step)));
    expect(order).not.toContain(-1);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it('are not there where something is missing, nor is anything set then', async () => {
    const { options, happened, made } = machine([], ({ tool }) =>
      tool === 'ipvsadm' ? 'missing' : undefined,
    );
    await expect(openIpvs(options, signal)).rejects.toMatchObject({
      code: 'missing',
      retryable: false,
      message: expect.stringContaining('mode ipvs cannot be used: the tool ipvsadm'),
    });
    expect(made).toEqual([]);
    expect(happened.filter((line) => line.includes('='))).toEqual([]);
    expect(happened.filter((line) => line.startsWith('iptables'))).toEqual([]);
  });

  it('leave IPv6 out, with the reason, where ipvs has none of it', async () => {
    const { options, happened } = machine([], ({ input }) =>
      input.includes('[2001:db8::]:20000')
        ? { exitCode: 2, stderr: 'Operation not supported with IPv6' }
        : undefined,
    );
    const opened = await openIpvs(options, signal);
    expect(opened.map(({ family }) => family)).toEqual(['ipv4']);
    expect(happened.filter((line) => line.startsWith('warn'))).toEqual([
      expect.stringMatching(/IPv6 is not used: ipvs for IPv6: .*CONFIG_IP_VS_IPV6/),
    ]);
  });

  it('leave a family out whose rules cannot look into sets', async () => {
    const { options } = machine([], ({ tool, input }) =>
      tool === 'iptables-nft-restore' && input.includes('--match-set')
        ? { exitCode: 2, stderr: 'no match set' }
        : undefined,
    );
    const opened = await openIpvs(options, signal);
    expect(opened.map(({ family }) => family)).toEqual(['ipv6']);
  });
});

describe('a scheduler that a Service names', () => {
  const pool = {
    id: 'p' as PoolId,
    endpoints: [],
    affinity: undefined,
    scheduling: { scheduler: 'mh', flags: ['mh-port'] },
  } as const;
  const mh = { scheduler: 'mh', flags: ['mh-fallback', 'mh-port'] };

  it('is tried once for both families, and the lowering goes by the answer', async () => {
    const { options, made, happened } = machine([], ({ input }) =>
      input.includes('-s mh') ? { exitCode: 2, stderr: 'engine not found\n' } : undefined,
    );
    await openIpvs(options, signal);
    expect(made.map(({ settings }) => settings.schedulerProblem(mh))).toEqual([
      undefined,
      undefined,
    ]);
    await Promise.all(made.map(async ({ schedulers }) => schedulers?.ready([pool], signal)));
    expect(happened.filter((line) => line.includes('-s mh'))).toHaveLength(1);
    for (const { settings } of made) {
      expect(settings.schedulerProblem(mh)).toMatchObject({ reason: 'engine not found' });
    }
  });

  it('is not tried where none is named', async () => {
    const { options, made, happened } = machine([]);
    await openIpvs(options, signal);
    const before = happened.length;
    const usual: Pool = { id: 'p' as PoolId, endpoints: [], affinity: undefined };
    await made[0]?.schedulers?.ready([usual], signal);
    expect(happened).toHaveLength(before);
  });
});

describe('--init-only in ipvs mode', () => {
  it('checks and sets, and writes no rule', async () => {
    const { options, happened, made } = machine(['--init-only', '--ipvs-udp-timeout=1m']);
    await prepareNode(options, signal);
    expect(happened).toContain('net/ipv4/vs/conntrack=1');
    expect(happened).toContain('ipvsadm --set 0 0 60');
    expect(happened.filter((line) => line.startsWith('ip6tables'))).toEqual([]);
    expect(made).toEqual([]);
  });
});
