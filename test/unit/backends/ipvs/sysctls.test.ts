// Which sysctls and time-outs ipvs mode sets, on which kernel.
import { describe, expect, it } from 'vitest';
import {
  applyIpvsSysctls,
  ipvsSysctls,
  setIpvsTimeouts,
} from '../../../../src/backends/ipvs/sysctls.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import type { Sysctls } from '../../../../src/host/sysctl.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import type { Log } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';

const { signal } = new AbortController();

/** A kernel as it is after the boot. */
const fresh: Readonly<Record<string, string>> = {
  'net/ipv4/vs/conntrack': '0',
  'net/ipv4/vs/conn_reuse_mode': '1',
  'net/ipv4/vs/expire_nodest_conn': '0',
  'net/ipv4/vs/expire_quiescent_template': '0',
  'net/ipv4/ip_forward': '0',
  'net/ipv4/conf/all/arp_ignore': '0',
  'net/ipv4/conf/all/arp_announce': '0',
};

const always = [
  'net/ipv4/vs/conntrack=1',
  'net/ipv4/vs/expire_nodest_conn=1',
  'net/ipv4/vs/expire_quiescent_template=1',
  'net/ipv4/ip_forward=1',
];

function choices(
  release: string,
  { strictArp = false, current = fresh }: { strictArp?: boolean; current?: typeof fresh } = {},
): readonly string[] {
  return ipvsSysctls(release, { strictArp }, (key) => current[key]).map(
    ({ key, value }) => `${key}=${value}`,
  );
}

describe('the sysctls of ipvs', () => {
  it.each(['3.10.0-1160.el7.x86_64', '4.0.9'])(
    'on %s are those without conn_reuse_mode, which it does not have',
    (release) => {
      expect(choices(release)).toEqual(always);
    },
  );

  it.each(['4.1.0', '4.18.0-553.el8_10.x86_64', '5.4.0-150-generic', '5.8.18'])(
    'on %s switch conn_reuse_mode off, which would drop first packets',
    (release) => {
      expect(choices(release)).toEqual(always.toSpliced(1, 0, 'net/ipv4/vs/conn_reuse_mode=0'));
    },
  );

  it.each(['5.9.0', '5.10.0-30-amd64', '6.1.0-28-amd64', '10.0'])(
    'on %s leave conn_reuse_mode on, and put it back where somebody switched it off',
    (release) => {
      expect(choices(release)).toEqual(always);
      const current = { ...fresh, 'net/ipv4/vs/conn_reuse_mode': '0' };
      expect(choices(release, { current })).toContain('net/ipv4/vs/conn_reuse_mode=1');
    },
  );

  it('leave what nobody can tell the version for', () => {
    expect(choices('custom')).toEqual(always);
  });

  it('are none where all is as it should be', () => {
    const current = Object.fromEntries(Object.keys(fresh).map((key) => [key, '1']));
    expect(choices('6.1.0', { current })).toEqual([]);
  });

  it('of ARP only with strictARP', () => {
    const strict = ['net/ipv4/conf/all/arp_ignore=1', 'net/ipv4/conf/all/arp_announce=2'];
    expect(choices('6.1.0', { strictArp: true })).toEqual([...always, ...strict]);
  });

  it('each have a reason, which names the version where it decides', () => {
    const reasons = ipvsSysctls('5.4.0', { strictArp: true }, (key) => fresh[key]);
    expect(reasons.every(({ reason }) => reason.length > 10)).toBe(true);
    expect(reasons.find(({ key }) => key.endsWith('reuse_mode'))?.reason).toContain('5.4.0');
  });
});

function machine(settings: Readonly<Record<string, string>>, readOnly: readonly string[] = []) {
  const happened: string[] = [];
  const sysctls: Sysctls = {
    read: async (key) => settings[key],
    async write(key, value) {
      if (readOnly.includes(key)) {
        throw new SwitchyardError('missing', `${key} cannot be set`, { hint: 'run privileged' });
      }
      happened.push(`${key}=${value}`);
      return true;
    },
  };
  const tell =
    (level: string) =>
    (context: object, message: string): void =>
      void happened.push(`${level} ${message} ${JSON.stringify(context)}`);
  const log: Log = { ...silentLog, info: tell('info'), warn: tell('warn'), error: tell('error') };
  return { happened, sysctls, log };
}

describe('setting them', () => {
  const settings: typeof fresh = { ...fresh, 'kernel/osrelease': '6.1.0' };

  it('tells what was before, and why', async () => {
    const { happened, sysctls, log } = machine(settings);
    await applyIpvsSysctls({ strictArp: false }, sysctls, log);
    expect(happened.filter((line) => line.startsWith('net/'))).toEqual(always);
    expect(happened[1]).toBe(
      'info set a sysctl for ipvs {"key":"net/ipv4/vs/conntrack","value":"1","before":"0","reason":"connections of ipvs are tracked, so that rules can masquerade and accept them"}',
    );
  });

  it('tells the reasons of what it leaves as it is', async () => {
    const done = Object.fromEntries(Object.keys(fresh).map((key) => [key, '1']));
    const { happened, sysctls, log } = machine({ ...done, 'kernel/osrelease': '6.1.0' });
    await applyIpvsSysctls({ strictArp: false }, sysctls, log);
    expect(happened).toHaveLength(1);
    expect(happened[0]).toMatch(
      /^info left sysctls for ipvs as they are .*conn_reuse_mode=1: Linux 6\.1\.0 \(5\.9 or newer\)/,
    );
  });

  it.each([
    ['4.0.9', /conn_reuse_mode: Linux 4\.0\.9 has no such setting/],
    ['custom', /conn_reuse_mode: .* which custom does not tell/],
  ])('tells why conn_reuse_mode is left alone on %s', async (release, reason) => {
    const { happened, sysctls, log } = machine({ ...fresh, 'kernel/osrelease': release });
    await applyIpvsSysctls({ strictArp: false }, sysctls, log);
    expect(happened.filter((line) => line.includes('reuse'))).toEqual([
      expect.stringMatching(reason),
    ]);
  });

  it.each(['net/ipv4/vs/conntrack', 'net/ipv4/ip_forward'])(
    'rejects where %s, without which nothing works, cannot be set',
    async (key) => {
      const { sysctls, log } = machine(settings, [key]);
      const set = applyIpvsSysctls({ strictArp: false }, sysctls, log);
      await expect(set).rejects.toMatchObject({ code: 'missing', hint: 'run privileged' });
    },
  );

  it('goes on without one that only makes things better', async () => {
    const { happened, sysctls, log } = machine(settings, ['net/ipv4/vs/expire_nodest_conn']);
    await applyIpvsSysctls({ strictArp: false }, sysctls, log);
    expect(happened).toContain('net/ipv4/ip_forward=1');
    expect(happened.filter((line) => line.startsWith('warn'))).toEqual([
      expect.stringMatching(/^warn not set: .*expire_nodest_conn cannot be set .*run privileged/),
    ]);
  });

  it('names the kernel option where connection tracking of ipvs is not built', async () => {
    const { 'net/ipv4/vs/conntrack': _, ...without } = settings;
    const { sysctls, log } = machine(without);
    const set = applyIpvsSysctls({ strictArp: false }, sysctls, log);
    await expect(set).rejects.toMatchObject({
      code: 'missing',
      hint: expect.stringContaining('CONFIG_IP_VS_NFCT'),
    });
  });
});

describe('the time-outs', () => {
  const none = { tcpTimeoutMs: 0, tcpFinTimeoutMs: 0, udpTimeoutMs: 0 };

  it('are left alone where none is given', async () => {
    const tools = new FakeToolRunner();
    await setIpvsTimeouts(none, tools, silentLog, signal);
    expect(tools.runs).toEqual([]);
  });

  it('are set together, in whole seconds; 0 leaves one as it is', async () => {
    const tools = new FakeToolRunner();
    const timeouts = { ...none, tcpTimeoutMs: 900_000, udpTimeoutMs: 500 };
    await setIpvsTimeouts(timeouts, tools, silentLog, signal);
    expect(tools.runs).toMatchObject([{ tool: 'ipvsadm', args: ['--set', '900', '0', '1'] }]);
  });

  it('that the kernel refuses are told, and no more', async () => {
    const { happened, log } = machine({});
    const tools = new FakeToolRunner(() => ({ exitCode: 2, stderr: 'Invalid operation.\n' }));
    await setIpvsTimeouts({ ...none, tcpTimeoutMs: 1000 }, tools, log, signal);
    expect(happened).toEqual([
      'error the time-outs of ipvs are not set: Invalid operation. {"tcp":1,"tcpFin":0,"udp":0}',
    ]);
  });
});
