// The agent takes what the chart gives it: arguments and configuration file, without a warning.
/** What the agent is to count of the traffic of Services, and whether the kernel is to. */
async function counted(mode: string, traffic: string): Promise<unknown> {
  const { agent } = await asked({ mode, metrics: { traffic } });
  expect(agent.warnings).toEqual([]);
  return [agent.config.traffic.what, agent.config.conntrack.accounting];
}

import { beforeAll, describe, expect, it } from 'vitest';
import { readConfigFile } from '../../../src/config/config-file.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { leastValues, only, render } from '../../support/helm.ts';
import type { Rendered } from '../../support/helm.ts';
import { outsideTool } from '../../support/outside-tools.ts';
import type { Container, DaemonSet } from '../../support/pod-form.ts';

const helm = await outsideTool('helm');
const blocked = 'missing' in helm ? ` (${helm.missing})` : '';
const path = 'path' in helm ? helm.path : '';

interface Told {
  readonly config: ProxyConfig;
  readonly warnings: readonly string[];
}

/** What a container makes of what it is given, as `switchyard proxy` does. */
function told(container: Container | undefined, objects: readonly Rendered[]): Told {
  const [command, ...args] = container?.args ?? [];
  expect(command).toBe('proxy');
  const given = args.map((arg) => arg.replace('$(NODE_NAME)', 'node-a'));
  const { flags } = parseFlags(proxyFlags, given);
  const map = objects.find(
    ({ kind, metadata }) => kind === 'ConfigMap' && !metadata.name.endsWith('-dashboard'),
  );
  const { data } = map as unknown as { data: Readonly<Record<string, string>> };
  const file = flags.text('config');
  expect(file).toBe('/etc/switchyard/config/config.yaml');
  const read = readConfigFile(data['config.yaml'] ?? '', file, proxyFlags, flags);
  const warnings = [...read.warnings];
  const config = proxyConfig(read.flags, (text) => warnings.push(text));
  return { config, warnings };
}

/** What both containers make of what these values give them. */
async function asked(values: object): Promise<{ readonly init: Told; readonly agent: Told }> {
  const objects = await render(path, { values: { ...leastValues, ...values } });
  const { spec } = (only(objects, 'DaemonSet') as unknown as DaemonSet).spec.template;
  return {
    init: told(spec.initContainers[0], objects),
    agent: told(spec.containers[0], objects),
  };
}

describe.skipIf(blocked !== '')(`what the chart gives the agent${blocked}`, () => {
  it.each(['iptables', 'ipvs', 'userspace'] as const)('is understood in %s mode', async (mode) => {
    const { init, agent } = await asked({ mode });
    expect(agent.warnings).toEqual([]);
    expect(agent.config).toMatchObject({
      mode,
      hostnameOverride: 'node-a',
      healthzBind: { address: '0.0.0.0', port: 10_256 },
      metricsBind: { address: '127.0.0.1', port: 10_249 },
      oomScoreAdj: -997,
      source: { kind: 'kubernetes', kubeconfig: '' },
      initOnly: false,
    });
    expect(init).toEqual({ config: { ...agent.config, initOnly: true }, warnings: [] });
  });

  it('has what the values say of the configuration', async () => {
    const { agent } = await asked({
      clusterCIDR: '10.244.0.0/16,fd00:10:244::/56',
      config: {
        conntrack: { min: 2_000_000, tcpEstablishedTimeout: '2h' },
        iptables: { masqueradeBit: 15 },
        nodePortAddresses: ['192.0.2.0/24'],
      },
      extraArgs: ['--ipvs-drain-timeout=1m'],
      verbosity: 3,
    });
    expect(agent.warnings).toEqual([]);
    expect(agent.config).toMatchObject({
      clusterCidrs: ['10.244.0.0/16', 'fd00:10:244::/56'],
      conntrack: { min: 2_000_000, tcpEstablishedTimeoutMs: 7_200_000 },
      masqueradeBit: 15,
      nodePortAddresses: { kind: 'cidrs', cidrs: ['192.0.2.0/24'] },
      ipvs: { drainMs: 60_000 },
      logging: { verbosity: 3 },
    });
  });

  it('counts the traffic of Services where that is asked for', async () => {
    expect(await counted('iptables', 'bytes')).toEqual(['bytes', true]);
    expect(await counted('ipvs', 'bytes')).toEqual(['bytes', false]);
    expect(await counted('iptables', 'connections')).toEqual(['connections', false]);
    expect(await counted('iptables', 'none')).toEqual(['none', false]);
  });

  it('has metrics where others read them as soon as somebody shall', async () => {
    const { agent } = await asked({ metrics: { podMonitor: { enabled: true } } });
    expect(agent.config.metricsBind).toEqual({ address: '0.0.0.0', port: 10_249 });
  });

  it('has an IPv6 address in brackets', async () => {
    const { agent } = await asked({ healthz: { address: '::' }, metrics: { address: '::1' } });
    expect(agent.config.healthzBind).toEqual({ address: '::', port: 10_256 });
    expect(agent.config.metricsBind).toEqual({ address: '::1', port: 10_249 });
  });

  it('leaves the score of the kernel’s killer to those who choose another priority class', async () => {
    const { agent } = await asked({ priorityClassName: '', config: { oomScoreAdj: 100 } });
    expect(agent.config.oomScoreAdj).toBe(100);
  });

  it('names the kubeconfig where it is mounted', async () => {
    const { agent } = await asked({
      apiServer: { host: '' },
      kubeconfig: { configMap: 'kube-proxy' },
    });
    expect(agent.config.source).toMatchObject({
      kubeconfig: '/etc/switchyard/kubeconfig/kubeconfig.conf',
    });
  });
});

describe.skipIf(blocked !== '')(`the pod${blocked}`, () => {
  let daemonSet: DaemonSet;

  beforeAll(async () => {
    daemonSet = only(await render(path), 'DaemonSet') as unknown as DaemonSet;
  });

  it('asks the agent how it is where that answers', () => {
    const [agent] = daemonSet.spec.template.spec.containers;
    const port = agent?.ports?.find(({ name }) => name === 'healthz')?.containerPort;
    expect(port).toBe(10_256);
    expect(agent?.readinessProbe?.httpGet).toEqual({ path: '/healthz', port: 'healthz' });
    expect(agent?.livenessProbe?.httpGet).toEqual({ path: '/livez', port: 'healthz' });
  });
});
