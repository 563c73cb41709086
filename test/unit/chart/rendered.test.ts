// What helm makes of the chart: the committed objects for a handful of values, and what holds for all of them.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  chart,
  leastValues,
  lint,
  objectsOf,
  only,
  render,
  renderText,
} from '../../support/helm.ts';
import { outsideTool } from '../../support/outside-tools.ts';
import type { DaemonSet } from '../../support/pod-form.ts';

const helm = await outsideTool('helm');
const blocked = 'missing' in helm ? ` (${helm.missing})` : '';
const path = 'path' in helm ? helm.path : '';

const cases = readdirSync(join(import.meta.dirname, 'values')).map((name) => name.slice(0, -5));

function file(name: string): string {
  return readFileSync(join(chart, 'files', name), 'utf8');
}

function valuesOf(name: string): object {
  const text = readFileSync(join(import.meta.dirname, 'values', `${name}.yaml`), 'utf8');
  return parse(text) as object;
}

/** The name of the configuration that pods mount. */
async function configName(values: object): Promise<string> {
  const objects = await render(path, { values: { ...leastValues, ...values } });
  const { template } = (only(objects, 'DaemonSet') as unknown as DaemonSet).spec;
  const { volumes } = template.spec;
  return volumes.find(({ name }) => name === 'config')?.configMap?.name ?? '';
}

/** The environment that is said outright. */
async function environment(values: object): Promise<object> {
  const objects = await render(path, { values });
  const { containers } = (only(objects, 'DaemonSet') as unknown as DaemonSet).spec.template.spec;
  return Object.fromEntries((containers[0]?.env ?? []).map(({ name, value }) => [name, value]));
}

/** How the kubelet asks whether the agent lives. */
async function livenessOf(mode: string): Promise<unknown> {
  const objects = await render(path, { values: { ...leastValues, mode } });
  const { containers } = (only(objects, 'DaemonSet') as unknown as DaemonSet).spec.template.spec;
  return (containers[0] as unknown as { livenessProbe: unknown }).livenessProbe;
}

describe.skipIf(blocked !== '')(`the chart${blocked}`, () => {
  describe.each(cases)('with the values %s', (name) => {
    let text = '';
    let daemonSet: DaemonSet;

    beforeAll(async () => {
      text = await renderText(path, { values: valuesOf(name) });
      daemonSet = only(objectsOf(text), 'DaemonSet') as unknown as DaemonSet;
    });

    it('is rendered as committed (vitest -u writes it)', async () => {
      // The dashboard has a file of its own.
      const short = text.replace(
        /^( {2}switchyard\.json: )\|\n(?: {4}.*\n|\n)+/m,
        '$1files/dashboard.json\n',
      );
      await expect(short).toMatchFileSnapshot(`rendered/${name}.yaml`);
    });

    it('is free of what helm lint finds', async () => {
      expect(await lint(path, valuesOf(name))).toContain('0 chart(s) failed');
    });

    it('gives the agent NET_ADMIN and NET_RAW, and nothing to write but the lock and /run/switchyard', () => {
      const { containers, hostNetwork } = daemonSet.spec.template.spec;
      expect(hostNetwork).toBe(true);
      expect(containers).toHaveLength(1);
      const [agent] = containers;
      expect(agent?.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        runAsUser: 0,
        runAsGroup: 0,
        capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      });
      const writable = agent?.volumeMounts?.filter(({ readOnly }) => readOnly !== true);
      expect(writable?.map(({ mountPath }) => mountPath)).toEqual([
        '/run/xtables.lock',
        '/run/switchyard',
      ]);
    });

    it('gives privileges to the container that prepares alone, which is told the same but --init-only', () => {
      const { initContainers, containers } = daemonSet.spec.template.spec;
      expect(initContainers.map(({ securityContext }) => securityContext.privileged)).toEqual([
        true,
      ]);
      const [init, agent] = [initContainers[0], containers[0]];
      expect(init?.args).toEqual([...(agent?.args ?? []), '--init-only']);
      const same = ({ image, env, volumeMounts }: typeof init & object): object => ({
        image,
        env,
        volumeMounts,
      });
      expect(init && same(init)).toEqual(agent && same(agent));
    });

    it('mounts each volume there is, and the node’s own lock, folder and modules', () => {
      const { containers, volumes } = daemonSet.spec.template.spec;
      const mounted = containers[0]?.volumeMounts?.map((each) => each.name) ?? [];
      expect(mounted.toSorted()).toEqual(volumes.map((each) => each.name).toSorted());
      expect(volumes.flatMap(({ hostPath }) => (hostPath ? [hostPath] : []))).toEqual([
        { path: '/run/xtables.lock', type: 'FileOrCreate' },
        { path: '/run/switchyard', type: 'DirectoryOrCreate' },
        { path: '/lib/modules', type: 'DirectoryOrCreate' },
      ]);
    });

    it('puts all objects but those of the cluster into the release’s namespace', () => {
      const outside = objectsOf(text).filter(({ metadata }) => metadata.namespace === undefined);
      for (const { kind } of outside) expect(kind).toMatch(/^ClusterRole/);
    });
  });

  it('brings the dashboard and the alerts as they are', async () => {
    const objects = await render(path, {
      values: { ...leastValues, dashboard: { enabled: true }, prometheusRule: { enabled: true } },
    });
    const board = objects.find(({ metadata }) => metadata.name.endsWith('-dashboard'));
    const { data } = board as unknown as { data: Readonly<Record<string, string>> };
    expect(JSON.parse(data['switchyard.json'] ?? '')).toEqual(JSON.parse(file('dashboard.json')));
    expect(only(objects, 'PrometheusRule')['spec']).toEqual(parse(file('alerts.yaml')));
  });

  it('leads each alert to the runbook where an operator reads it', async () => {
    const runbook = 'https://runbooks.example.net/operating';
    const text = await renderText(path, {
      values: { ...leastValues, prometheusRule: { enabled: true, runbook } },
    });
    expect(text).toContain(`runbook_url: "${runbook}#switchyarddown"`);
    expect(text).not.toContain('runbook: ');
  });

  it('leads there whatever the place is called', async () => {
    const runbook = `wiki: "ops" $1 \\ it's`;
    const values = { ...leastValues, prometheusRule: { enabled: true, runbook } };
    const { groups } = only(await render(path, { values }), 'PrometheusRule')['spec'] as {
      groups: { rules: { alert: string; annotations: Record<string, string> }[] }[];
    };
    const urls = groups.flatMap(({ rules }) =>
      rules.map(({ annotations: { runbook_url } }) => runbook_url),
    );
    expect(urls).toContain(`${runbook}#switchyarddown`);
    expect(urls.every((url) => url?.startsWith(`${runbook}#`))).toBe(true);
  });

  it('can be installed under a name and in a namespace of digits', async () => {
    const monitors = { serviceMonitor: { enabled: true } };
    const values = {
      kubeconfig: { configMap: '007' },
      metrics: monitors,
      prometheusRule: { enabled: true },
    };
    for (const object of await render(path, { values, release: '123', namespace: '456' })) {
      const names = JSON.stringify(object).match(
        /"(?:name|namespace|serviceAccountName|app\.kubernetes\.io\/instance)":[0-9]/g,
      );
      expect(names, object.kind).toBeNull();
    }
  });

  it.each<[string, object, string]>([
    ['IPv4', { clusterCIDR: '10.244.0.0/16' }, '0.0.0.0:10256'],
    ['IPv6', { clusterCIDR: 'fd00:10:244::/56' }, '[::]:10256'],
    ['both, IPv6 first', { clusterCIDR: 'fd00:10:244::/56,10.244.0.0/16' }, '[::]:10256'],
    [
      'what is said',
      { clusterCIDR: 'fd00::/56', healthz: { address: '2001:db8::1' } },
      '[2001:db8::1]:10256',
    ],
  ])('answers probes at all addresses of a node of %s', async (_what, values, expected) => {
    const { data } = only(
      await render(path, { values: { ...leastValues, ...values } }),
      'ConfigMap',
    ) as unknown as { data: Record<string, string> };
    expect(parse(data['config.yaml'] ?? '')).toMatchObject({ healthzBindAddress: expected });
  });

  it('asks whether the process lives, where a restart would end what it carries', async () => {
    expect(await livenessOf('userspace')).toMatchObject({ httpGet: { path: '/livez/ping' } });
    expect(await livenessOf('ipvs')).toMatchObject({ httpGet: { path: '/livez' } });
  });

  it('gives the ipvs mode what it is prepared with and runs with as any other', async () => {
    const [ipvs, iptables] = await Promise.all(
      ['ipvs', 'iptables'].map(async (mode) => {
        const objects = await render(path, { values: { ...leastValues, mode } });
        const { initContainers, containers } = (only(objects, 'DaemonSet') as unknown as DaemonSet)
          .spec.template.spec;
        return [...initContainers, ...containers].map(({ securityContext }) => securityContext);
      }),
    );
    expect(ipvs).toEqual(iptables);
  });

  it('has the nodes cleaned up where that is asked for: beside kube-proxy, and without a token', async () => {
    const values = { ...leastValues, cleanup: 'leftovers', sideBySide: { enabled: true } };
    const text = await renderText(path, { values });
    await expect(text).toMatchFileSnapshot('rendered/cleanup.yaml');
    const { spec } = (only(objectsOf(text), 'DaemonSet') as unknown as DaemonSet).spec.template;
    expect(spec.initContainers.map(({ args }) => args)).toEqual([['cleanup', '--leftovers']]);
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(spec.nodeSelector).toEqual({ 'kubernetes.io/os': 'linux' });
    expect(spec.affinity).toBeUndefined();
    const [done] = spec.containers;
    expect(done?.securityContext).toMatchObject({
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(done?.volumeMounts).toBeUndefined();
  });

  it('cleans up wholly where agents are, and not from under kube-proxy', async () => {
    const values = { ...leastValues, sideBySide: { enabled: true } };
    const [agents, cleaners] = await Promise.all(
      [values, { ...values, cleanup: 'all' }].map(async (each) => {
        const objects = await render(path, { values: each });
        return (only(objects, 'DaemonSet') as unknown as DaemonSet).spec.template.spec;
      }),
    );
    expect(cleaners?.initContainers.map(({ args }) => args)).toEqual([['cleanup']]);
    expect(cleaners?.nodeSelector).toEqual(agents?.nodeSelector);
    expect(cleaners?.nodeSelector).toMatchObject({ 'switchyard.io/proxy': 'switchyard' });
    expect(cleaners?.affinity).toEqual(agents?.affinity);
    expect(cleaners?.affinity).toBeDefined();
  });

  it('cleans up by the record that agents have kept, and raises no alert of agents that are gone', async () => {
    const values = {
      ...leastValues,
      cleanup: 'all',
      config: { ipvs: { excludeCIDRs: ['10.9.0.0/24', 'fd00:9::/64'] } },
      extraArgs: ['--state-file=/run/switchyard/two.json', '--ipvs-drain-timeout=1m'],
      prometheusRule: { enabled: true },
    };
    const objects = await render(path, { values });
    const { initContainers } = (only(objects, 'DaemonSet') as unknown as DaemonSet).spec.template
      .spec;
    expect(initContainers[0]?.args).toEqual([
      'cleanup',
      '--ipvs-exclude-cidrs=10.9.0.0/24,fd00:9::/64',
      '--state-file=/run/switchyard/two.json',
    ]);
    expect(objects.map(({ kind }) => kind)).not.toContain('PrometheusRule');
  });

  it('takes the nodes of a label alone, where nothing else is asked of them', async () => {
    const nodeSelector = { 'kubernetes.io/os': null }; // as helm has a default taken out
    const values = { ...leastValues, nodeSelector, sideBySide: { enabled: true } };
    const { spec } = only(await render(path, { values }), 'DaemonSet') as unknown as DaemonSet;
    expect(spec.template.spec.nodeSelector).toEqual({ 'switchyard.io/proxy': 'switchyard' });
  });

  describe('starts pods anew', () => {
    let before = '';

    beforeAll(async () => {
      before = await configName({});
    });

    it.each<[string, object]>([
      ['the mode', { mode: 'ipvs' }],
      ['a limit of connection tracking', { config: { conntrack: { min: 65_536 } } }],
      ['node ports of 127.0.0.1', { config: { iptables: { localhostNodePorts: false } } }],
      ['strict ARP', { config: { ipvs: { strictARP: true } } }],
    ])('where %s changes: that takes privileges', async (_what, values) => {
      expect(await configName(values)).not.toBe(before);
    });

    it.each<[string, object]>([
      ['the pods’ addresses', { clusterCIDR: '10.0.0.0/8' }],
      ['a sync period', { config: { iptables: { syncPeriod: '1m' } } }],
    ])('not where %s change: the running agents follow', async (_what, values) => {
      expect(await configName(values)).toBe(before);
      expect(await configName({ ...values, restartOnConfigChange: true })).not.toBe(before);
    });
  });

  describe('says where the API server is', () => {
    it('by the environment, for a kubelet gives pods the address of a Service', async () => {
      expect(
        await environment({ apiServer: { host: 'api.example.net', port: 8443 } }),
      ).toMatchObject({
        KUBERNETES_SERVICE_HOST: 'api.example.net',
        KUBERNETES_SERVICE_PORT: '8443',
      });
    });

    it('by a kubeconfig alone, where there is one', async () => {
      const names = Object.keys(await environment({ kubeconfig: { configMap: 'kube-proxy' } }));
      expect(names).toEqual(['NODE_NAME']);
    });
  });

  describe('refuses', () => {
    it.each<[string, object, RegExp]>([
      [
        'values that name no API server',
        {},
        /apiServer\.host is needed.*kubeconfig\.configMap=kube-proxy/,
      ],
      [
        'two places of the API server',
        { ...leastValues, kubeconfig: { configMap: 'kube-proxy' } },
        /give one of the two/,
      ],
      ['two kubeconfigs', { kubeconfig: { configMap: 'kube-proxy', secret: 'other' } }, /not both/],
      ['auto without a cluster to ask', { apiServer: { host: 'auto' } }, /cluster-info/],
      ['a URL in the place of a host', { apiServer: { host: 'https://x' } }, /host.*pattern/s],
      ['a mode that is not built', { ...leastValues, mode: 'nftables' }, /mode/],
      ['a misspelt value', { ...leastValues, clusterCidr: '10.0.0.0/8' }, /clusterCidr/],
      ['a misspelt value deeper down', { apiServer: { host: 'a', ports: 1 } }, /ports/],
      ['a field that is a value of its own', { ...leastValues, config: { mode: 'ipvs' } }, /mode/],
      [
        'to be read twice',
        {
          ...leastValues,
          metrics: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } },
        },
        /podMonitor.enabled.*false/s,
      ],
      [
        'two agents at a time on a node',
        { ...leastValues, updateStrategy: { rollingUpdate: { maxSurge: 1 } } },
        /maxSurge/,
      ],
    ])('%s', async (_what, values, words) => {
      await expect(renderText(path, { values })).rejects.toThrow(words);
    });
  });
});
