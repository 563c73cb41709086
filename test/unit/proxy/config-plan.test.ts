// What has to be done to follow a changed configuration.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { configEffects } from '../../../src/proxy/config-effects.ts';
import { changeText, planChanges } from '../../../src/proxy/config-plan.ts';

function config(...argv: readonly string[]): ProxyConfig {
  return proxyConfig(parseFlags(proxyFlags, argv).flags);
}

function plan(before: readonly string[], after: readonly string[]): readonly string[] {
  const { how, changes } = planChanges(config(...before), config(...after));
  return [how, ...changes.map(changeText)];
}

describe('a plan', () => {
  it('of what is equal has nothing to do', () => {
    expect(plan(['--cluster-cidr=10.244.0.0/16'], ['--cluster-cidr=10.244.0.0/16'])).toEqual([
      'nothing',
    ]);
  });

  it('names each setting as the file does, with both values', () => {
    const after = [
      '--cluster-cidr=10.244.0.0/16,fd00::/48',
      '--iptables-sync-period=1m30s',
      '--masquerade-all',
      '--metrics-bind-address=',
      '-v=4',
    ];
    expect(plan([], after)).toEqual([
      'live',
      'metricsBindAddress: 127.0.0.1:10249 → none (live)',
      'syncPeriod: 30s → 1m30s (live)',
      'masqueradeAll: false → true (live)',
      'clusterCIDR: none → 10.244.0.0/16,fd00::/48 (live)',
      'logging.verbosity: 0 → 4 (live)',
    ]);
  });

  it.each([
    [['--iptables-masquerade-bit=15'], 'restart'],
    [['--hostname-override=b'], 'restart'],
    [['--proxy-mode=ipvs', '--ipvs-scheduler=wrr'], 'restart'],
    [['--conntrack-udp-timeout=10s'], 'live'],
    [['--conntrack-tcp-be-liberal'], 'restart'],
    [['--oom-score-adj=0'], 'live'],
    [['--detect-local-mode=NodeCIDR'], 'restart'],
    [['--detect-local-mode=BridgeInterface', '--pod-bridge-interface=cni0'], 'live'],
    [['--bind-address-hard-fail'], 'live'],
    [['--init-only'], 'new process'],
  ])('from the defaults to %j is: %s', (after, how) => {
    expect(plan([], after)[0]).toBe(how);
  });

  it('takes a new agent to leave NodeCIDR too: the one that runs may be waiting for pod CIDRs', () => {
    expect(plan(['--detect-local-mode=NodeCIDR'], [])).toEqual([
      'restart',
      'detectLocalMode: NodeCIDR → ClusterCIDR (restart: in NodeCIDR mode the start waits for the pod CIDRs of the Node)',
    ]);
  });

  it('of settings that another mode alone reads is live, and nobody has to do anything', () => {
    const after = config('--ipvs-scheduler=wrr', '--proxy-port-range=20000-20100');
    expect(planChanges(config(), after)).toMatchObject({
      how: 'live',
      parts: new Set(['nobody']),
    });
    const ipvs = config('--proxy-mode=ipvs');
    expect(planChanges(ipvs, { ...ipvs, ipvs: after.ipvs }).how).toBe('restart');
  });

  it('for narrower node ports needs a new agent only where those of 127.0.0.1 come or go', () => {
    const narrow = ['--nodeport-addresses=192.0.2.0/24'];
    const withLoopback = ['--nodeport-addresses=192.0.2.0/24,127.0.0.0/8'];
    expect(plan([], narrow)).toEqual([
      'restart',
      'nodePortAddresses: all → 192.0.2.0/24 (restart: node ports of 127.0.0.1 come or go with it)',
    ]);
    expect(plan([], withLoopback)[0]).toBe('live');
    const off = ['--iptables-localhost-nodeports=false'];
    expect(plan(off, [...off, ...narrow])[0]).toBe('live');
    expect(plan(['--proxy-mode=ipvs'], ['--proxy-mode=ipvs', ...narrow])[0]).toBe('live');
  });

  it('for a mode that follows another says where somebody has to clean up between', () => {
    const own = ['--proxy-mode=userspace', '--userspace-portals=none'];
    expect(plan([], ['--proxy-mode=userspace'])).toEqual([
      'restart',
      'mode: iptables → userspace (restart: another backend)',
    ]);
    expect(plan(['--proxy-mode=ipvs'], ['--proxy-mode=userspace']).slice(0, 2)).toEqual([
      'new process',
      'mode: ipvs → userspace (new process: virtual servers and kube-ipvs0 would stay: end the agent, run `switchyard cleanup`, and start it again)',
    ]);
    expect(plan(['--proxy-mode=userspace'], own)[0]).toBe('new process');
    expect(plan([], own)[0]).toBe('new process');
    expect(plan(own, [])[0]).toBe('restart');
  });

  it('shows no credentials of a URL', () => {
    const url = ['--source=https://user:secret@example.com/objects?token=secret'];
    expect(plan([], url).join('\n')).toContain(
      '--source: kubernetes → https://example.com/objects',
    );
    expect(plan([], url).join('\n')).not.toContain('secret');
  });

  it('knows a name for each setting, and none twice; the page has all that a file can say', async () => {
    const names = Object.values(configEffects).flatMap((entry) =>
      'fields' in entry
        ? Object.values(entry.fields as Record<string, { name: string }>).map(({ name }) => name)
        : [entry.name],
    );
    expect(new Set(names).size).toBe(names.length);
    const page = await readFile(join(import.meta.dirname, '../../../docs/operating.md'), 'utf8');
    const section = page.split('## Changing the configuration')[1]?.split('\n## ')[0] ?? '';
    const told = (name: string): boolean =>
      section.includes(`\`${name}\``) || section.includes(`\`${name.replace(/\..*/, '.*')}\``);
    const untold = names.filter((name) => !name.startsWith('--') && !told(name));
    expect(untold).toEqual(['syncPeriod', 'minSyncPeriod']); // "sync periods"
  });
});
