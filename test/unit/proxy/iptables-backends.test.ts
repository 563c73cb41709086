import { describe, expect, it } from 'vitest';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import type { Sysctls } from '../../../src/host/sysctl.ts';
import { openBackends } from '../../../src/proxy/backends.ts';
import { openIptables } from '../../../src/proxy/iptables-backends.ts';
import { allowLocalhostNodePorts } from '../../../src/proxy/localhost-node-ports.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../support/fake-tool-runner.ts';
import { emptyDelta, emptyGraph } from '../../support/iptables-states.ts';
import { VirtualClock } from './virtual-clock.ts';

const { signal } = new AbortController();

/** A machine whose tools all work, but for what the test says; what happens to it, in order. */
function machine(flags: readonly string[], answer: (run: RecordedRun) => Answer) {
  const happened: string[] = [];
  const tools = new FakeToolRunner((run) => {
    if (run.tool.endsWith('-restore') && run.tool !== 'ipset') happened.push(run.input);
    const said = answer(run);
    if (said !== undefined || !run.args.includes('--version')) return said;
    return { stdout: `${run.tool} v1.8.9 (nf_tables)` };
  });
  const sysctls: Sysctls = {
    read: () => Promise.resolve('0'),
    write: (key, value) => {
      happened.push(`${key}=${value}`);
      return Promise.resolve(true);
    },
  };
  const told = (context: object, message: string): void =>
    void happened.push(`${message} ${JSON.stringify(context)}`);
  const log: Log = { ...silentLog, info: told, warn: told, error: told };
  const config = proxyConfig(parseFlags(proxyFlags, flags).flags);
  const record = {
    noteFirewall: async (variant: string) => void happened.push(`recorded: firewall ${variant}`),
    read: async () => ({ sysctls: {}, firewalls: [] }),
  };
  const clock = new VirtualClock();
  const [random, print] = [() => 0, () => {}];
  return {
    happened,
    options: { config, tools, sysctls, record, clock, random, print, env: {}, log },
  };
}

describe('the backends of the iptables mode', () => {
  it('wait, ever longer, while another program holds the xtables lock', async () => {
    const locked = { exitCode: 4, stderr: 'Another app is currently holding the xtables lock.' };
    let times = 7;
    const { options, happened } = machine([], ({ tool, args }) => {
      const asked = !tool.startsWith('ip6') && args.includes('POSTROUTING');
      return asked && times-- > 0 ? locked : undefined;
    });
    const waitsMs: number[] = [];
    const sleep = async (ms: number): Promise<void> => void waitsMs.push(ms);
    const clock = { now: () => 0, monotonic: () => 0, sleep };
    expect((await openBackends({ ...options, clock }, signal)).families).not.toEqual([]);
    expect(waitsMs).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    const said = happened.filter((line) => line.startsWith('cannot start yet'));
    expect(said).toHaveLength(7);
    expect(said[0]).toContain('xtables lock');
  });

  it('wait, naming the cure, where the lock file cannot be opened', async () => {
    const stderr = "Fatal: can't open lock file /run/xtables.lock: Read-only file system";
    let times = 2;
    const { options, happened } = machine([], ({ tool, args }) => {
      const asked = !tool.startsWith('ip6') && args.includes('POSTROUTING');
      return asked && times-- > 0 ? { exitCode: 4, stderr } : undefined;
    });
    const clock = { now: () => 0, monotonic: () => 0, sleep: () => Promise.resolve() };
    const { families } = await openBackends({ ...options, clock }, signal);
    expect(families.map(({ family }) => family)).toEqual(['ipv4', 'ipv6']);
    const said = happened.filter((line) => line.startsWith('cannot start yet'));
    expect(said).toHaveLength(2);
    expect(said[0]).toMatch(/cannot take its lock: .*make \/run\/xtables\.lock writable/);
    expect(happened.join('\n')).not.toContain('is not used');
  });

  it('warn of rules that serve in the other variant, and say how to be rid of them', async () => {
    const dumps: Readonly<Record<string, string>> = {
      'iptables-nft-save': '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n',
      'iptables-legacy-save': '*nat\n-A KUBE-SERVICES -j KUBE-SVC-A\nCOMMIT\n',
    };
    const { options, happened } = machine([], ({ tool, args }) =>
      args.length === 0 ? { stdout: dumps[tool] ?? '' } : undefined,
    );
    const tables = { ipv4: ['nat'], ipv6: [] };
    await openIptables({ ...options, legacyTables: () => Promise.resolve(tables) }, signal);
    const said = happened.filter((line) => line.includes('in force in the legacy variant too'));
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/^1 rules .*iptables-legacy -w -t nat -F KUBE-SERVICES.*cleanup/);
  });

  it('do not wait for tools that are not there', async () => {
    const { options } = machine([], () => 'missing');
    await expect(openBackends(options, signal)).rejects.toMatchObject({ code: 'missing' });
  });

  it.each<[string, (run: RecordedRun) => Answer]>([
    [
      'its tables cannot be read',
      ({ tool, args }) =>
        tool.startsWith('ip6') && args.includes('POSTROUTING')
          ? { exitCode: 3, stderr: "can't initialize ip6tables table `nat': Table does not exist" }
          : undefined,
    ],
    [
      'a match that no rule set can do without is missing',
      ({ tool, input }) =>
        tool.startsWith('ip6') && input.includes('addrtype')
          ? { exitCode: 2, stderr: "Couldn't load match `addrtype'" }
          : undefined,
    ],
  ])('leave a family out, with the reason, where %s', async (_why, answer) => {
    const { options, happened } = machine([], answer);
    const opened = await openIptables(options, signal);
    expect(opened.map(({ family }) => family)).toEqual(['ipv4']);
    expect(happened.join('\n')).toMatch(/IPv6 is not used: .*(Table does not exist|addrtype|IPv6)/);
  });

  it('cost a handful of runs of a tool where kernel and tools have everything', async () => {
    const { options } = machine([], () => undefined);
    await openIptables(options, signal);
    const probing = options.tools.runs.filter(({ tool }) => /restore$|^ipset$/.test(tool));
    expect(probing).toHaveLength(2 * 4);
  });

  it.each([
    ['another agent that starts destroys the set of the probe', 2, 'ipset'],
    ['sets never work', Infinity, 'recent'],
  ])('keep affinity by what there is where %s', async (_what, times, affinity) => {
    let left = times;
    const { options, happened } = machine([], ({ tool, input }) => {
      const isOurs = !tool.startsWith('ip6') && input.includes('-set KUBE-SWITCHYARD-PROBE-4');
      if (!isOurs || tool === 'ipset') return undefined;
      // both rules at once, and then each by itself
      return left-- > 0
        ? {
            exitCode: 2,
            stderr: `${tool} v1.8.9 (nf_tables): Set KUBE-SWITCHYARD-PROBE-4 doesn't exist.\n\nError occurred at line: 3\n`,
          }
        : undefined;
    });
    await openIptables(options, signal);
    const features = happened.filter((line) => line.startsWith('features of kernel and tools'));
    expect(features.find((line) => line.includes('ipv4'))).toContain(`"affinity":"${affinity}"`);
    expect(happened.some((line) => line.includes('match set is missing'))).toBe(
      affinity === 'recent',
    );
  });

  it('do not exist where no family is usable: all reasons are named', async () => {
    const { options } = machine([], ({ args }) =>
      args.includes('POSTROUTING') ? { exitCode: 3, stderr: 'no such table' } : undefined,
    );
    await expect(openIptables(options, signal)).rejects.toThrow(
      /cannot be used: iptables-nft cannot read the nat table: no such table/,
    );
  });

  it('wait for nobody who holds the lock: that is no missing family', async () => {
    const { options } = machine([], ({ args }) =>
      args.includes('POSTROUTING')
        ? { exitCode: 4, stderr: 'Another app is currently holding the xtables lock.' }
        : undefined,
    );
    await expect(openIptables(options, signal)).rejects.toMatchObject({ code: 'timeout' });
  });
});

describe('what --init-only does for node ports of 127.0.0.1', () => {
  it('writes the guard, its jumps and nothing else, and only then opens the loopback net', async () => {
    const { options, happened } = machine([], () => undefined);
    await allowLocalhostNodePorts(options, signal);
    expect(happened).toHaveLength(2);
    const [rules = '', setting] = happened;
    expect(rules.split('\n')).toEqual([
      '*filter',
      ':KUBE-FIREWALL - [0:0]',
      '-I INPUT -j KUBE-FIREWALL',
      '-I OUTPUT -j KUBE-FIREWALL',
      expect.stringMatching(
        /^-A KUBE-FIREWALL ! -s 127\.0\.0\.0\/8 -d 127\.0\.0\.0\/8 .* -j DROP$/,
      ),
      'COMMIT',
      '',
    ]);
    expect(setting).toBe('net/ipv4/conf/all/route_localnet=1');
  });

  it('records the guard before the first rules, and writes none while it cannot look for it', async () => {
    let isLocked = true;
    const locked = { exitCode: 4, stderr: 'Another app is currently holding the xtables lock.' };
    const { options, happened } = machine([], ({ args }) => {
      if (!args.includes('KUBE-FIREWALL')) return undefined;
      return isLocked ? locked : { exitCode: 1, stderr: 'No chain/target/match by that name.' };
    });
    const [opened] = await openIptables(options, signal);
    const sync = async () => opened?.backend.sync(emptyGraph, emptyDelta, signal);
    happened.length = 0;
    await expect(sync()).rejects.toMatchObject({ code: 'timeout', retryable: true });
    expect(happened).toEqual([]);
    isLocked = false;
    await sync();
    expect(happened[0]).toBe('recorded: firewall nft');
    expect(happened[1]).toContain(':KUBE-FIREWALL');
    expect(happened.filter((line) => line.startsWith('recorded'))).toHaveLength(1);
  });

  it.each([
    ['it is there', { stdout: '-N KUBE-FIREWALL\n' }],
    [
      'it is there, with a rule that cannot be printed',
      { exitCode: 3, stdout: '-N KUBE-FIREWALL\n', stderr: 'Parsing nftables rule failed' },
    ],
  ])('records no guard where %s', async (_what, answer) => {
    const { options, happened } = machine([], ({ args }) =>
      args.includes('KUBE-FIREWALL') ? answer : undefined,
    );
    await allowLocalhostNodePorts(options, signal);
    expect(happened.filter((line) => line.startsWith('recorded'))).toEqual([]);
  });

  it('leaves the loopback net closed where the guard is refused', async () => {
    const { options, happened } = machine([], ({ tool }) =>
      tool.endsWith('-restore') ? { exitCode: 2, stderr: 'line 5 failed' } : undefined,
    );
    await expect(allowLocalhostNodePorts(options, signal)).rejects.toThrow(/refused the rules/);
    expect(happened.join()).not.toContain('route_localnet');
  });

  it('puts no jump in twice', async () => {
    const { options, happened } = machine([], ({ tool, args }) =>
      tool.endsWith('-save') && args.includes('filter')
        ? { stdout: '-A INPUT -j KUBE-FIREWALL\n-A OUTPUT -j KUBE-FIREWALL\nCOMMIT\n' }
        : undefined,
    );
    await allowLocalhostNodePorts(options, signal);
    expect(happened.join('\n')).not.toContain('-I ');
  });

  it('does nothing where node ports do not answer there', async () => {
    const { options, happened } = machine(
      ['--iptables-localhost-nodeports=false'],
      () => undefined,
    );
    await allowLocalhostNodePorts(options, signal);
    expect(happened).toEqual([]);
  });
});
