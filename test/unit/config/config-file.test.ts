import { describe, expect, it } from 'vitest';
import { readConfigFile } from '../../../src/config/config-file.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { SwitchyardError } from '../../../src/error.ts';

const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

function read(body: string, ...argv: readonly string[]) {
  const file = readConfigFile(
    head + body,
    'c.yaml',
    proxyFlags,
    parseFlags(proxyFlags, argv).flags,
  );
  const warnings = [...file.warnings];
  return { config: proxyConfig(file.flags, (text) => warnings.push(text)), warnings };
}

/** As kubeadm writes it: every field is there, most of them empty. */
const kubeadm = `
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null, udpStreamTimeout: 0s, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
`;

function thrownBy(run: () => unknown): SwitchyardError {
  try {
    run();
  } catch (error) {
    if (error instanceof SwitchyardError) return error;
  }
  throw new Error('nothing was refused');
}

describe('a KubeProxyConfiguration', () => {
  it('as kubeadm writes it gives the defaults, without a warning', () => {
    const { config, warnings } = read(kubeadm);
    expect(warnings).toEqual([]);
    expect(config).toEqual({
      ...proxyConfig(parseFlags(proxyFlags, []).flags),
      clusterCidrs: ['10.244.0.0/16'],
      source: { kind: 'kubernetes', kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf', master: '' },
    });
  });

  it('sets what it says', () => {
    const { config } = read(
      'iptables: {syncPeriod: 1m, masqueradeBit: 20}\nconntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s}\n' +
        'nodePortAddresses: [10.0.0.0/8, fd00::/8]\nmetricsBindAddress: 0.0.0.0:1\n',
    );
    expect(config).toMatchObject({
      syncPeriodMs: 60_000,
      masqueradeBit: 20,
      conntrack: { maxPerCore: 0, tcpEstablishedTimeoutMs: 0 },
      nodePortAddresses: { kind: 'cidrs', cidrs: ['10.0.0.0/8', 'fd00::/8'] },
      metricsBind: { address: '0.0.0.0', port: 1 },
    });
  });

  it('overrides the flags, but for those that count beside it, and says so', () => {
    const argv = ['--hostname-override=me', '--masquerade-all', '-v=2'];
    const { config, warnings } = read('hostnameOverride: you', ...argv);
    expect(config).toMatchObject({ hostnameOverride: 'me', masqueradeAll: false });
    expect(config.logging.verbosity).toBe(2);
    expect(warnings).toEqual(['--masquerade-all is ignored: --config is given']);
  });

  it('warns of what no strict reading would take, by name, and goes on', () => {
    const { config, warnings } = read(
      'ipvs: {scheduler: rr}\nbindAdress: 1.2.3.4\niptables: {masqueradeBit: 1, masqueradeBit: 2}\n' +
        'udpIdleTimeout: 0s\nkubelet: {port: 1}\n',
    );
    expect(warnings).toEqual([
      'c.yaml: iptables.masqueradeBit stands there more than once, the last one counts',
      'c.yaml: bindAdress is not a field of KubeProxyConfiguration and is not used; did you mean bindAddress?',
      'c.yaml: kubelet is not a field of KubeProxyConfiguration and is not used',
      'c.yaml: ipvs.scheduler has no effect: the mode is iptables',
    ]);
    expect(config.masqueradeBit).toBe(2);
  });

  it('tells of all mistakes at once, values of a wrong type first, each by its field, with what was meant', () => {
    const body =
      'hostnameOverride: 123\noomScoreAdj: 99999999999\nnodePortAddresses: 10.0.0.0/8\nmode: {name: iptables}\n' +
      'iptables: {masqueradeAll: "true", masqueradeBit: 14.5, syncPeriod: 30}\nfeatureGates: {AllAlpha: "yes"}\n' +
      'logging: {vmodule: [{filePattern: a}]}\nipvs: 3\nbindAddress: here\n';
    const error = thrownBy(() => read(body));
    expect(error.message.split('\n')).toEqual([
      'c.yaml: hostnameOverride: 123 is not a text',
      'c.yaml: oomScoreAdj: 99999999999 is not a whole number',
      'c.yaml: nodePortAddresses: "10.0.0.0/8" is not a list of texts',
      'c.yaml: mode: {"name":"iptables"} is not a text',
      'c.yaml: iptables.masqueradeAll: "true" is not true or false',
      'c.yaml: iptables.masqueradeBit: 14.5 is not a whole number',
      'c.yaml: iptables.syncPeriod: 30 is not a duration such as 30s or 1m30s',
      'c.yaml: featureGates: {"AllAlpha":"yes"} is not a map of names to true or false',
      'c.yaml: logging.vmodule: [{"filePattern":"a"}] is not a list of filePattern and verbosity',
      'c.yaml: ipvs: 3 is not a section with fields',
      'c.yaml: bindAddress: "here" is not an IP address',
    ]);
    expect(error.hint?.split('; ')).toEqual([
      'write it in quotes',
      'write [10.0.0.0/8]',
      'leave the quotes out',
      'did you mean 30s?',
      'write its fields below it: ipvs.scheduler, for example',
      'give an address such as 192.0.2.1 or 2001:db8::1',
    ]);
  });

  it('takes JSON, YAML 1.1 words for true and false, and a flush frequency in nanoseconds', () => {
    const json = { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' };
    const { flags } = parseFlags(proxyFlags, []);
    const text = JSON.stringify({ ...json, iptables: { masqueradeAll: true } });
    expect(readConfigFile(text, 'c.json', proxyFlags, flags).flags.bool('masqueradeAll')).toBe(
      true,
    );
    const { config, warnings } = read(
      'iptables: {masqueradeAll: yes}\nlogging: {flushFrequency: 5000000000}\n',
    );
    expect([config.masqueradeAll, warnings]).toEqual([true, []]);
  });

  it('sets ipvs mode, beside what no file can say', () => {
    const body =
      'mode: ipvs\niptables: {masqueradeAll: true, syncPeriod: 0s, minSyncPeriod: 0s}\n' +
      'ipvs: {scheduler: sh, syncPeriod: 0s, minSyncPeriod: 2s, strictARP: true, excludeCIDRs: [10.9.9.0/24], udpTimeout: 90s}\n';
    const { config, warnings } = read(body, '--ipvs-drain-timeout=1m', '--ipvs-scheduler=rr');
    expect(warnings).toEqual(['--ipvs-scheduler is ignored: --config is given']);
    expect(config).toMatchObject({
      mode: 'ipvs',
      syncPeriodMs: 30_000,
      minSyncPeriodMs: 2000,
      masqueradeAll: true,
      ipvs: {
        scheduler: 'sh',
        excludeCidrs: ['10.9.9.0/24'],
        strictArp: true,
        tcpTimeoutMs: 0,
        udpTimeoutMs: 90_000,
        drainMs: 60_000,
      },
    });
  });

  it('sets userspace mode with the fields that kube-proxy once had for it', () => {
    const body = 'mode: userspace\nportRange: 20000-20999\nudpIdleTimeout: 10s\n';
    const { config, warnings } = read(body, '--userspace-portals=none', '--udp-timeout=1s');
    expect(warnings).toEqual(['--udp-timeout is ignored: --config is given']);
    expect(config.userspace).toMatchObject({
      portals: 'none',
      portRange: { first: 20_000, last: 20_999 },
      udpTimeoutMs: 10_000,
    });
    const { config: plain } = read('mode: userspace\nportRange: ""\nudpIdleTimeout: 0s\n');
    expect(plain.userspace).toMatchObject({ portRange: undefined, udpTimeoutMs: 250 });
  });

  it.each([
    ['iptables: {syncPeriod: soon}', 'c.yaml: iptables.syncPeriod: "soon" is not a duration'],
    ['mode: nftables', 'c.yaml: mode: "nftables" is not built yet'],
    ['mode: ipvs\nipvs: {syncPeriod: -1s}', 'c.yaml: ipvs.syncPeriod: must be above 0'],
    ['mode: ipvs\nipvs: {excludeCIDRs: [x]}', 'c.yaml: ipvs.excludeCIDRs: "x" is not a CIDR'],
    ['iptables: {masqueradeBit: 99}', 'c.yaml: iptables.masqueradeBit: 99 is not 0 to 31'],
    ['mode: iptables\n---\nmode: iptables', 'c.yaml: has more than one document, expected one'],
    ['a: [', 'c.yaml: '],
    ['clusterCIDR: &a [*a]', 'c.yaml: cannot be read: '],
    [
      'a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]',
      'c.yaml: cannot be read: Excessive alias count',
    ],
  ])('refuses %s', (body, message) => {
    expect(() => read(body)).toThrow(message);
  });

  it('sets nothing by a field without a name, which is not one', () => {
    expect(read('"": [a]').warnings).toEqual([
      'c.yaml:  is not a field of KubeProxyConfiguration and is not used',
    ]);
  });

  it('names itself where it conflicts with a flag', () => {
    expect(() => read('clientConnection: {kubeconfig: k}', '--source=file:a')).toThrow(
      'c.yaml: clientConnection.kubeconfig: conflicts with --source=file:a',
    );
  });

  it('refuses another kind of object', () => {
    const { flags } = parseFlags(proxyFlags, []);
    expect(() => readConfigFile('kind: Pod', 'c.yaml', proxyFlags, flags)).toThrow(
      'c.yaml: is not a KubeProxyConfiguration',
    );
  });
});
