import { describe, expect, it } from 'vitest';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { SwitchyardError } from '../../../src/error.ts';

const config = (...argv: readonly string[]): ProxyConfig =>
  proxyConfig(parseFlags(proxyFlags, argv).flags);

function problems(...argv: readonly string[]): readonly string[] {
  try {
    config(...argv);
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'usage')
      return error.message.split('\n');
    throw error;
  }
  return [];
}

describe('the proxy configuration', () => {
  it("has kube-proxy's defaults", () => {
    expect(config()).toEqual({
      mode: 'iptables',
      source: { kind: 'kubernetes', kubeconfig: '', master: '' },
      hostnameOverride: '',
      bindAddress: '0.0.0.0',
      bindAddressHardFail: false,
      healthzBind: { address: '0.0.0.0', port: 10256 },
      metricsBind: { address: '127.0.0.1', port: 10249 },
      syncPeriodMs: 30_000,
      minSyncPeriodMs: 1000,
      masqueradeAll: false,
      masqueradeBit: 14,
      localhostNodePorts: true,
      detectLocal: { mode: 'ClusterCIDR' },
      clusterCidrs: [],
      nodePortAddresses: { kind: 'all' },
      oomScoreAdj: -999,
      conntrack: {
        maxPerCore: 32_768,
        min: 131_072,
        tcpEstablishedTimeoutMs: 86_400_000,
        tcpCloseWaitTimeoutMs: 3_600_000,
        tcpBeLiberal: false,
        udpTimeoutMs: 0,
        udpStreamTimeoutMs: 0,
        accounting: false,
      },
      ipvs: {
        scheduler: 'rr',
        excludeCidrs: [],
        strictArp: false,
        tcpTimeoutMs: 0,
        tcpFinTimeoutMs: 0,
        udpTimeoutMs: 0,
        drainMs: 300_000,
      },
      traffic: { what: 'none', intervalMs: 10_000, series: 1000, namespaces: [] },
      userspace: {
        portals: 'iptables',
        portRange: undefined,
        udpTimeoutMs: 250,
        drainMs: 300_000,
        shutdownMs: 25_000,
        workers: undefined,
        portOffset: 10_000,
        stateFile: undefined,
      },
      logging: { format: 'auto', verbosity: 0 },
      metrics: { serviceStates: 0 },
      profiling: false,
      initOnly: false,
    });
  });

  it.each<[readonly string[], Partial<ProxyConfig>]>([
    [['--hostname-override= Node-A '], { hostnameOverride: 'node-a' }],
    [['--healthz-bind-address='], { healthzBind: undefined }],
    [['--healthz-bind-address=10.0.0.1'], { healthzBind: bind('10.0.0.1', 10256) }],
    [['--healthz-bind-address=[::1]:80'], { healthzBind: bind('::1', 80) }],
    [['--healthz-bind-address=::'], { healthzBind: bind('::', 10256) }],
    [['--bind-address=::'], { healthzBind: bind('::', 10256), metricsBind: bind('::1', 10249) }],
    [['--metrics-port=0'], { metricsBind: undefined }],
    [['--metrics-port=0', '--metrics-bind-address='], { metricsBind: undefined }],
    [['--metrics-port=0', '--metrics-bind-address=10.0.0.1'], { metricsBind: undefined }],
    [['--healthz-port=9'], { healthzBind: bind('0.0.0.0', 9) }],
    [['--healthz-port=9', '--healthz-bind-address=10.0.0.1'], { healthzBind: bind('10.0.0.1', 9) }],
    [
      ['--healthz-port=9', '--healthz-bind-address=10.0.0.1:9'],
      { healthzBind: bind('10.0.0.1', 9) },
    ],
    [
      ['--healthz-bind-address=10.0.0.1:9', '--metrics-bind-address=10.0.0.2:9'],
      { metricsBind: bind('10.0.0.2', 9) },
    ],
    [['--cluster-cidr=10.0.0.0/8,fd00::/8'], { clusterCidrs: cidrs('10.0.0.0/8', 'fd00::/8') }],
    [['--nodeport-addresses=primary'], { nodePortAddresses: { kind: 'primary' } }],
    [['--nodeport-addresses=all,10.0.0.0/8'], { nodePortAddresses: { kind: 'all' } }],
    [
      ['--nodeport-addresses=primary,10.0.0.0/8'],
      { nodePortAddresses: { kind: 'cidrs', cidrs: cidrs('10.0.0.0/8'), primary: true } },
    ],
    [
      ['--nodeport-addresses=localhost,10.0.0.0/8'],
      {
        nodePortAddresses: { kind: 'cidrs', cidrs: cidrs('127.0.0.0/8', '::1/128', '10.0.0.0/8') },
      },
    ],
    [
      ['--detect-local-mode=BridgeInterface', '--pod-bridge-interface=br0'],
      { detectLocal: { mode: 'BridgeInterface', name: 'br0' } },
    ],
    [['--source=file:a', '--source=file:b'], { source: { kind: 'files', paths: ['a', 'b'] } }],
    [['--source=https://x/y'], { source: { kind: 'url', url: 'https://x/y' } }],
    [['--mode=iptables'], { mode: 'iptables' }],
    [['--iptables-min-sync-period=0s'], { minSyncPeriodMs: 0 }],
  ])('%j', (argv, expected) => {
    expect(config(...argv)).toMatchObject(expected);
  });

  it.each<[readonly string[], readonly string[]]>([
    [
      ['--mode=nftables'],
      ['--mode: "nftables" is not built yet; modes that exist: iptables, ipvs, userspace'],
    ],
    [
      ['--proxy-mode=xyz'],
      ['--proxy-mode: "xyz" is not a mode; modes that exist: iptables, ipvs, userspace'],
    ],
    [
      [
        '--mode=ipvs',
        '--ipvs-scheduler=Round Robin',
        '--ipvs-exclude-cidrs=10.0.0.1,x',
        '--ipvs-tcp-timeout=-1s',
        '--ipvs-drain-timeout=-1s',
        '--ipvs-sync-period=1s',
        '--ipvs-min-sync-period=2s',
      ],
      [
        '--ipvs-min-sync-period: must not be above --ipvs-sync-period, which is 1s',
        '--ipvs-scheduler: "Round Robin" is not a name',
        '--ipvs-exclude-cidrs: "10.0.0.1" is not a CIDR',
        '--ipvs-exclude-cidrs: "x" is not a CIDR',
        '--ipvs-tcp-timeout: must not be negative',
        '--ipvs-drain-timeout: must not be negative',
      ],
    ],
    [['--mode=ipvs', '--ipvs-sync-period=0s'], ['--ipvs-sync-period: must be above 0']],
    [
      ['--iptables-masquerade-bit=32', '--oom-score-adj=-1001'],
      [
        '--iptables-masquerade-bit: 32 is not 0 to 31',
        '--oom-score-adj: -1001 is not -1000 to 1000',
      ],
    ],
    [
      ['--iptables-sync-period=1s', '--iptables-min-sync-period=2s'],
      ['--iptables-min-sync-period: must not be above --iptables-sync-period, which is 1s'],
    ],
    [['--bind-address=here'], ['--bind-address: "here" is not an IP address']],
    [
      ['--healthz-bind-address=localhost:80'],
      ['--healthz-bind-address: "localhost:80" is not IP:PORT with a port of 1 to 65535'],
    ],
    [
      ['--metrics-bind-address=1.2.3.4:70000'],
      ['--metrics-bind-address: "1.2.3.4:70000" is not IP:PORT with a port of 1 to 65535'],
    ],
    [
      ['--cluster-cidr=10.0.0.0/8,11.0.0.0/8'],
      ['--cluster-cidr: "10.0.0.0/8,11.0.0.0/8" has more than one CIDR of a family'],
    ],
    [['--cluster-cidr=10.0.0.0/33'], ['--cluster-cidr: "10.0.0.0/33" is not a CIDR']],
    [
      ['--nodeport-addresses=primary,10.0.0.0', '--nodeport-addresses=secondary'],
      [
        '--nodeport-addresses: "10.0.0.0" is not a CIDR',
        '--nodeport-addresses: "secondary" is not a CIDR',
      ],
    ],
    [
      ['--detect-local-mode=InterfaceNamePrefix'],
      ['--pod-interface-name-prefix: is needed with --detect-local-mode=InterfaceNamePrefix'],
    ],
    [['--hostname-override= '], ['--hostname-override: is blank']],
    [['-v=-1'], ['-v: -1 is not 0 to 2147483647']],
    [
      ['--healthz-port=9', '--healthz-bind-address=0.0.0.0:1'],
      ['--healthz-port: 9 contradicts --healthz-bind-address=0.0.0.0:1'],
    ],
    [
      ['--metrics-port=0', '--metrics-bind-address=127.0.0.1:1'],
      ['--metrics-port: 0 contradicts --metrics-bind-address=127.0.0.1:1'],
    ],
    [
      ['--healthz-bind-address=[::]:9', '--metrics-bind-address=127.0.0.1:9'],
      ['--metrics-bind-address: port 9 is taken by --healthz-bind-address=[::]:9'],
    ],
    [
      [
        '--mode=userspace',
        '--proxy-port-range=9-8',
        '--udp-timeout=0s',
        '--userspace-workers=65',
        '--userspace-port-offset=-1',
        '--userspace-drain-timeout=-1s',
        '--userspace-shutdown-timeout=-1s',
      ],
      [
        '--userspace-workers: 65 is not 0 to 64',
        '--proxy-port-range: "9-8" is no range of ports',
        '--udp-timeout: must be above 0',
        '--userspace-drain-timeout: must not be negative',
        '--userspace-shutdown-timeout: must not be negative',
        '--userspace-port-offset: -1 is not 0 to 64512',
      ],
    ],
    [
      ['--service-traffic-interval=500ms', '--service-traffic-limit=100001'],
      [
        '--service-traffic-interval: must be at least 1s',
        '--service-traffic-limit: 100001 is not 0 to 100000',
      ],
    ],
    [['--conntrack-min=-1'], ['--conntrack-min: must not be negative']],
    [
      [
        '--config-sync-period=0s',
        '--kube-api-burst=-1',
        '--show-hidden-metrics-for-version=x',
        '--feature-gates=TopologyAwareHint=true,Nope=false',
      ],
      [
        '--config-sync-period: must be above 0',
        '--kube-api-burst: must not be negative',
        '--show-hidden-metrics-for-version: "x" is not a version of Kubernetes such as 1.36',
        '--feature-gates: "TopologyAwareHint" is no feature gate of Kubernetes',
        '--feature-gates: "Nope" is no feature gate of Kubernetes',
      ],
    ],
    [
      ['--mode=ipvs', '--feature-gates=KubeProxyIPVS=true,KubeProxyIPVS=false'],
      ['--mode: "ipvs" is ruled out by --feature-gates: KubeProxyIPVS=false'],
    ],
    [
      ['--source=file:a', '--source=kubernetes'],
      ['--source: file:a and kubernetes cannot be mixed; only file:PATH may be repeated'],
    ],
    [['--source=file:a', '--kubeconfig=k'], ['--kubeconfig: conflicts with --source=file:a']],
    [
      ['--source=ftp://x'],
      ['--source: "ftp://x" is not one of kubernetes, file:PATH or an http(s) URL'],
    ],
  ])('refuses %j', (argv, expected) => {
    expect(problems(...argv)).toEqual(expected);
  });

  it.each<[readonly string[], string]>([
    [['--mode=nftables'], 'leave it out, or say one of iptables, ipvs, userspace'],
    [
      ['--mode=userspace', '--proxy-port-range=x'],
      'give BEGIN-END, BEGIN+COUNT or one port, such as 20000-20999',
    ],
    [['--source=manifests'], 'did you mean file:manifests?'],
    [
      ['--cluster-cidr=10.0.0.0', '--bind-address=x'],
      'give an address such as 192.0.2.1 or 2001:db8::1; give ADDRESS/BITS, such as 10.244.0.0/16 or fd00:10:244::/56',
    ],
  ])('says what to do about %j', (argv, hint) => {
    expect(() => config(...argv)).toThrow(expect.objectContaining({ hint }));
  });

  it.each<[readonly string[], readonly string[]]>([
    [
      ['--pod-bridge-interface=br0'],
      [
        '--pod-bridge-interface has no effect: it needs --detect-local-mode=BridgeInterface, which is ClusterCIDR, the default',
      ],
    ],
    [['--pod-bridge-interface=br0', '--detect-local-mode=BridgeInterface'], []],
    [
      ['--pod-interface-name-prefix=veth', '--detect-local-mode=NodeCIDR'],
      [
        '--pod-interface-name-prefix has no effect: it needs --detect-local-mode=InterfaceNamePrefix, which is NodeCIDR',
      ],
    ],
    [
      [
        '--ipvs-scheduler=mh',
        '--ipvs-strict-arp=false',
        '--ipvs-tcp-timeout=-1s',
        // counts for what another mode has left
        '--ipvs-exclude-cidrs=10.9.9.0/24',
      ],
      [
        '--ipvs-scheduler has no effect: the mode is iptables',
        '--ipvs-tcp-timeout has no effect: the mode is iptables',
      ],
    ],
    [
      [
        '--feature-gates=SidecarContainers=true,NFTablesProxyMode=true,TopologyAwareHints=true',
        '--feature-gates=ServiceTrafficDistribution=false,CPUManager=true,KubeProxyIPVS=true',
      ],
      [
        '--feature-gates: NFTablesProxyMode=true has no effect: nftables mode is not built yet',
        '--feature-gates: ServiceTrafficDistribution=false has no effect: hints for zones count',
        '--feature-gates: CPUManager, SidecarContainers have no effect: not about service proxies',
      ],
    ],
    [
      ['--service-traffic-limit=5', '--conntrack-accounting'],
      ['--service-traffic-limit has no effect without --service-traffic'],
    ],
    [['--service-traffic=bytes', '--service-traffic-limit=5'], []],
    [
      ['--udp-timeout=1s', '--userspace-workers=0', '--userspace-portals=none'],
      [
        '--udp-timeout has no effect: the mode is iptables',
        '--userspace-portals has no effect: the mode is iptables',
      ],
    ],
    [
      ['--mode=ipvs', '--iptables-min-sync-period=5s', '--masquerade-all'],
      ['--iptables-min-sync-period has no effect: the mode is ipvs, --ipvs-min-sync-period counts'],
    ],
  ])('warns of what has no effect in %j', (argv, expected) => {
    const warnings: string[] = [];
    proxyConfig(parseFlags(proxyFlags, argv).flags, (text) => warnings.push(text));
    expect(warnings).toEqual(expected);
  });

  it.each([
    ['--log-json-split-stream', '--log-json-split-stream has no effect: all lines go'],
    ['--log-text-info-buffer-size=1Mi', '--log-text-info-buffer-size has no effect: every line'],
  ])('takes %s with a warning', (flag, warning) => {
    expect(parseFlags(proxyFlags, [flag]).warnings[0]).toContain(warning);
  });

  it('takes --cleanup=false: it is how kube-proxy starts', () => {
    expect(config('--cleanup=false')).toEqual(config());
  });

  it('in ipvs mode takes the periods of ipvs, and the masquerading of iptables', () => {
    const argv = ['--iptables-masquerade-bit=7', '--masquerade-all'];
    expect(config('--mode=ipvs', '--ipvs-sync-period=1m', ...argv)).toMatchObject({
      mode: 'ipvs',
      syncPeriodMs: 60_000,
      minSyncPeriodMs: 0,
      masqueradeBit: 7,
      masqueradeAll: true,
      localhostNodePorts: false,
    });
  });

  it('has what the flags of ipvs say', () => {
    const argv = [
      '--ipvs-scheduler=wlc',
      '--ipvs-exclude-cidrs=10.9.9.0/24,fd09::/64',
      '--ipvs-strict-arp',
      '--ipvs-tcp-timeout=15m',
      '--ipvs-tcpfin-timeout=2m',
      '--ipvs-udp-timeout=5m',
      '--ipvs-drain-timeout=0s',
    ];
    expect(config('--mode=ipvs', ...argv).ipvs).toEqual({
      scheduler: 'wlc',
      excludeCidrs: ['10.9.9.0/24', 'fd09::/64'],
      strictArp: true,
      tcpTimeoutMs: 900_000,
      tcpFinTimeoutMs: 120_000,
      udpTimeoutMs: 300_000,
      drainMs: 0,
    });
  });

  it('counts the traffic of Services as it is asked to', () => {
    const argv = [
      '--service-traffic=bytes',
      '--service-traffic-interval=1m',
      '--service-traffic-limit=0',
      '--service-traffic-namespaces=a,b',
      '--conntrack-accounting',
    ];
    expect(config(...argv)).toMatchObject({
      traffic: { what: 'bytes', intervalMs: 60_000, series: 0, namespaces: ['a', 'b'] },
      conntrack: { accounting: true },
    });
  });

  it('in userspace mode takes the periods of iptables, whose rules its portals are', () => {
    expect(config('--mode=userspace', '--iptables-sync-period=1m')).toMatchObject({
      mode: 'userspace',
      syncPeriodMs: 60_000,
      minSyncPeriodMs: 1000,
      localhostNodePorts: true,
    });
  });

  it('has what the flags of userspace mode say', () => {
    const argv = [
      '--userspace-portals=none',
      '--proxy-port-range=20000+999',
      '--udp-timeout=10s',
      '--userspace-drain-timeout=1m',
      '--userspace-shutdown-timeout=0s',
      '--userspace-workers=3',
      '--userspace-port-offset=20000',
      '--userspace-state-file=',
    ];
    expect(config('--mode=userspace', ...argv).userspace).toEqual({
      portals: 'none',
      portRange: { first: 20_000, last: 20_999 },
      udpTimeoutMs: 10_000,
      drainMs: 60_000,
      shutdownMs: 0,
      workers: 3,
      portOffset: 20_000,
      stateFile: '',
    });
  });
});

function bind(address: string, port: number): ProxyConfig['healthzBind'] {
  return { address: address as never, port };
}

function cidrs(...texts: readonly string[]): ProxyConfig['clusterCidrs'] {
  return texts as ProxyConfig['clusterCidrs'];
}
