/** A pod's name, hosts file and DNS settings. */
import { describe, expect, it } from 'vitest';

import {
  dnsConfig,
  dnsOfNoFile,
  parseResolvConf,
} from '../../../../src/kubelet/environment/dns-config.ts';
import { podHostname } from '../../../../src/kubelet/environment/hostname.ts';
import { hostsFile, nodeHostsFile } from '../../../../src/kubelet/environment/hosts-file.ts';
import { pod } from '../support/pods.ts';

describe('the hostname', () => {
  const domain = 'cluster.local';

  it("is the pod's name, cut to a label", () => {
    expect(podHostname(pod(), domain)).toEqual({ hostname: 'web', domain: '', sandbox: 'web' });
    const name = `${'a'.repeat(62)}-${'b'.repeat(7)}`;
    expect(podHostname(pod({}, { name }), domain).sandbox).toBe('a'.repeat(62));
  });

  it('has a domain with a subdomain, and is that as a whole where that is asked for', () => {
    const spec = { hostname: 'db-0', subdomain: 'db' };
    const full = 'db.shop.svc.cluster.local';
    expect(podHostname(pod(spec), domain)).toEqual({
      hostname: 'db-0',
      domain: full,
      sandbox: 'db-0',
    });
    expect(podHostname(pod({ ...spec, setHostnameAsFQDN: true }), domain).sandbox).toBe(
      `db-0.${full}`,
    );
  });

  it('is refused where the kernel would not take it', () => {
    const long = pod({ hostname: 'a'.repeat(50), subdomain: 'db', setHostnameAsFQDN: true });
    expect(() => podHostname(long, domain)).toThrow(
      'is too long (64 characters is the max, 76 characters requested)',
    );
  });
});

describe('the hosts file', () => {
  const names = { hostname: 'db-0', domain: 'db.shop.svc.cluster.local' };

  it("has the pod's addresses and aliases", () => {
    const aliases = [{ ip: '10.1.2.3', hostnames: ['one.example', 'two'] }];
    expect(hostsFile(['10.244.1.7', 'fd00::7'], names, aliases)).toBe(
      [
        '# Kubernetes-managed hosts file.',
        '127.0.0.1\tlocalhost',
        '::1\tlocalhost ip6-localhost ip6-loopback',
        'fe00::0\tip6-localnet',
        'fe00::0\tip6-mcastprefix',
        'fe00::1\tip6-allnodes',
        'fe00::2\tip6-allrouters',
        '10.244.1.7\tdb-0.db.shop.svc.cluster.local\tdb-0',
        'fd00::7\tdb-0.db.shop.svc.cluster.local\tdb-0',
        '',
        '# Entries added by HostAliases.',
        '10.1.2.3\tone.example\ttwo',
        '',
      ].join('\n'),
    );
  });

  it("is the node's own with the node's network", () => {
    expect(nodeHostsFile('127.0.0.1 localhost\n', undefined)).toBe(
      '# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n',
    );
  });
});

describe('DNS', () => {
  const node = parseResolvConf(
    [
      '# written by hand',
      'search old.example',
      'nameserver 192.0.2.1',
      ';nameserver 192.0.2.9',
      'nameserver 192.0.2.2',
      'search corp.example. svc.cluster.local',
      'options ndots:1 edns0',
    ].join('\n'),
  );
  const sources = { clusterDNS: ['10.96.0.10'], clusterDomain: 'cluster.local', node };

  it("reads a resolv.conf's last search and options lines, and all of its servers", () => {
    expect(node).toEqual({
      servers: ['192.0.2.1', '192.0.2.2'],
      searches: ['corp.example', 'svc.cluster.local'],
      options: ['ndots:1', 'edns0'],
    });
    expect(dnsOfNoFile('fd00::1')).toEqual({ servers: ['::1'], searches: ['.'], options: [] });
  });

  const cluster = {
    servers: ['10.96.0.10'],
    searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.example'],
    options: ['ndots:5'],
  };
  const nothing = { servers: [], searches: [], options: [] };

  it.each([
    ['ClusterFirst', false, cluster],
    ['ClusterFirst', true, node],
    ['ClusterFirstWithHostNet', true, cluster],
    ['Default', false, node],
    ['None', false, nothing],
  ] as const)('%s, host network %s', (dnsPolicy, hostNetwork, expected) => {
    expect(dnsConfig(pod({ dnsPolicy, hostNetwork }), sources)).toEqual({
      dns: expected,
      events: [],
    });
  });

  it("falls back to the node's where the cluster has none, and says so", () => {
    const { dns, events } = dnsConfig(pod(), { ...sources, clusterDNS: [] });
    expect(dns).toEqual(node);
    expect(events).toEqual([
      {
        type: 'Warning',
        reason: 'MissingClusterDNS',
        message:
          'pod: "web_shop(uid-1)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.',
      },
    ]);
  });

  it("takes the pod's own settings in, and leaves out what is too much", () => {
    const dnsOptions = {
      nameservers: ['10.96.0.10', '192.0.2.3', '192.0.2.4', '192.0.2.5'],
      searches: Array.from({ length: 40 }, (_none, i) => `d${i}.example`),
      options: [{ name: 'ndots', value: '2' }, { name: 'rotate' }],
    };
    const { dns, events } = dnsConfig(pod({ dnsConfig: dnsOptions }), sources);
    expect(dns.servers).toEqual(['10.96.0.10', '192.0.2.3', '192.0.2.4']);
    expect(dns.searches).toHaveLength(32);
    expect(dns.options).toEqual(['ndots:2', 'rotate']);
    expect(events.map(({ reason }) => reason)).toEqual(['DNSConfigForming', 'DNSConfigForming']);
  });
});
