/** Flags and files beside upstream's own kube-proxy: what both write with --write-config-to, and what both refuse. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { fieldRows } from '../support/kube-proxy-fields.ts';
import { flagRows } from '../support/kube-proxy-flags.ts';
import { runCommand } from '../support/command-run.ts';
import { ownFolder } from '../support/own-folder.ts';
import { ControlPlane } from './control-plane.ts';
import { controlPlaneBinary } from './controlplane/build.ts';

const blocked = ControlPlane.blocked();
const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

type Config = Record<string, unknown>;
type Program = 'kube-proxy' | 'Switchyard';

/** Without a network: it needs none to read its configuration. */
const upstream = [controlPlaneBinary(), 'kube-proxy'];

/**
 * What the two write otherwise though they mean the same: kube-proxy writes zero periods into the sections of modes that
 * are not used, which a file cannot have, and drops what no mode of its own reads; a node's name it makes small later; our log has
 * another default.
 */
function comparable(config: Config, mode: unknown): Config {
  const { iptables, ipvs, nftables, logging, hostnameOverride, portRange, ...rest } = config;
  const section = (name: string, fields: unknown): Config => {
    const { syncPeriod, minSyncPeriod, ...others } = fields as Config;
    return name === mode ? { ...others, syncPeriod, minSyncPeriod } : others;
  };
  const { masqueradeAll, ...ofNftables } = section('nftables', nftables);
  const log = logging as Config;
  expect([typeof portRange, typeof masqueradeAll]).toEqual(['string', 'boolean']);
  return {
    ...rest,
    iptables: section('iptables', iptables),
    ipvs: section('ipvs', ipvs),
    nftables: ofNftables,
    hostnameOverride: String(hostnameOverride).toLowerCase(),
    logging: { ...log, format: log['format'] === 'json' ? 'json' : 'text' },
  };
}

describe.skipIf(blocked !== undefined)(
  `configuration beside kube-proxy${blocked ? ` (${blocked})` : ''}`,
  () => {
    let folder = '';

    beforeAll(() => {
      folder = ownFolder('switchyard-configuration');
    });

    afterAll(() => {
      rmSync(folder, { recursive: true, force: true });
    });

    /** What a program writes; undefined where it refuses. Ours runs in this process, under the name of the other. */
    async function written(program: Program, argv: readonly string[]): Promise<Config | undefined> {
      const file = join(folder, `${program}.yaml`);
      rmSync(file, { force: true });
      const all = [...argv, `--write-config-to=${file}`];
      const { status } =
        program === 'Switchyard'
          ? await runCommand(['node', '/usr/local/bin/kube-proxy', ...all])
          : spawnSync('unshare', ['--net', ...upstream, ...all], { timeout: 20_000 });
      return status === 0 ? (parse(readFileSync(file, 'utf8')) as Config) : undefined;
    }

    function fileOf(body: string): string {
      const file = join(folder, 'config.conf');
      writeFileSync(file, head + body);
      return `--config=${file}`;
    }

    async function expectSame(argv: readonly string[]): Promise<void> {
      const theirs = await written('kube-proxy', argv);
      const ours = await written('Switchyard', argv);
      expect(theirs, `kube-proxy refuses ${argv.join(' ')}`).toBeDefined();
      expect(ours, `Switchyard refuses ${argv.join(' ')}`).toBeDefined();
      const mode = theirs?.['mode'];
      expect(comparable(ours ?? {}, mode)).toEqual(comparable(theirs ?? {}, mode));
    }

    it.each([
      [[]],
      [['--bind-address=::', '--healthz-bind-address=[::]:1', '--metrics-bind-address=[::1]:2']],
      [
        [
          '--proxy-mode=ipvs',
          '--ipvs-sync-period=1m',
          '--ipvs-min-sync-period=2s',
          '--masquerade-all',
        ],
      ],
      [['--cluster-cidr=10.244.0.0/16,fd00::/56', '--detect-local-mode=NodeCIDR', '-v=3']],
      [['--conntrack-min=0x10', '--oom-score-adj', '-5', '--iptables-localhost-nodeports=false']],
      [['--nodeport-addresses=10.0.0.0/8', '--nodeport-addresses=fd00::/8,192.0.2.0/24']],
      [['--nodeport-addresses=primary,localhost,10.0.0.0/8']],
      [['--feature-gates=ComponentFlagz=false', '--feature-gates=ContextualLogging=true']],
      [['--hostname-override=Node-A', '--kube-api-qps=2.5', '--kube-api-burst=7']],
      [['--log-flush-frequency=1500ms', '--vmodule=a=1,b=2']],
    ])('writes what kube-proxy writes for %j', async (argv) => {
      await expectSame(argv);
    });

    it('writes what kube-proxy writes for every flag of its own', async () => {
      // Modules are for kube-proxy's text log alone.
      const apart = new Set([
        'config',
        'write-config-to',
        'cleanup',
        'init-only',
        'proxy-mode',
        'vmodule',
      ]);
      const forbidden = /^log-(?:json|text)-|^(?:healthz|metrics)-port$/;
      const argv = flagRows
        .filter(({ name }) => !apart.has(name) && !forbidden.test(name))
        .map(({ name, sample }) => `--${name}=${sample}`);
      await expectSame(argv);
    });

    it('writes what kube-proxy writes for every field', async () => {
      const apart = new Set(['mode', 'featureGates', 'detectLocalMode', 'logging.format']);
      const usable = fieldRows.filter(
        ({ path }) => !apart.has(path) && !path.startsWith('logging.options'),
      );
      const body: Config = {};
      for (const { path, sample } of usable) {
        const names = path.split('.');
        let section = body;
        for (const name of names.slice(0, -1)) section = (section[name] ??= {}) as Config;
        section[names.at(-1) ?? ''] = parse(sample);
      }
      for (const mode of ['iptables', 'ipvs']) {
        const text = JSON.stringify({ ...body, mode, detectLocalMode: 'BridgeInterface' });
        const file = join(folder, 'all.json');
        const kind = 'KubeProxyConfiguration';
        const apiVersion = 'kubeproxy.config.k8s.io/v1alpha1';
        writeFileSync(file, JSON.stringify({ kind, apiVersion, ...(JSON.parse(text) as Config) }));
        await expectSame([`--config=${file}`]);
      }
    });

    it('reads what kube-proxy writes, and the other way round', async () => {
      const argv = ['--proxy-mode=ipvs', '--ipvs-scheduler=wlc', '--cluster-cidr=10.0.0.0/8'];
      for (const [writer, reader] of [
        ['kube-proxy', 'Switchyard'],
        ['Switchyard', 'kube-proxy'],
      ] as const) {
        const first = await written(writer, argv);
        const file = join(folder, 'first.json');
        writeFileSync(file, JSON.stringify(first));
        const second = await written(reader, [`--config=${file}`]);
        expect(comparable(second ?? {}, 'ipvs')).toEqual(comparable(first ?? {}, 'ipvs'));
      }
    });

    it.each([
      'bindAdress: 192.0.2.1\n',
      'bindAddress: 192.0.2.1\nbindAddress: 192.0.2.2\n',
      'iptables: null\n',
      'iptables: {masqueradeAll: yes, masqueradeBit: 14.0}\n',
      'logging: {flushFrequency: 0}\n',
      'healthzBindAddress: 192.0.2.1\nmetricsBindAddress: ""\nbindAddress: "::"\n',
      'mode: ipvs\niptables: {syncPeriod: -1s}\n',
      'ipvs: {excludeCIDRs: [x], syncPeriod: -1s}\n',
      'nftables: {masqueradeBit: 40}\n',
      'clusterCIDR: 10.1.2.3/8\n',
    ])('takes the file %j as kube-proxy does', async (body) => {
      await expectSame([fileOf(body)]);
    });

    it.each([
      [['--feature-gates=Nope=true']],
      [['--feature-gates=ComponentFlagz']],
      [['--feature-gates=KubeProxyIPVS=false', '--proxy-mode=ipvs']],
      [['--show-hidden-metrics-for-version=x']],
      [['--oom-score-adj=-2000']],
      [['--oom-score-adj=99999999999']],
      [['--iptables-masquerade-bit=32']],
      [['--bind-address=x']],
      [['--iptables-sync-period=0s']],
      [['--iptables-min-sync-period=2s', '--iptables-sync-period=1s']],
      [['--config-sync-period=0s']],
      [['--cluster-cidr=10.0.0.0/8,11.0.0.0/8']],
      [['--cluster-cidr=10.0.0.0/8,fd00::/8,12.0.0.0/8']],
      [['--kube-api-burst=-1']],
      [['--detect-local-mode=BridgeInterface']],
      [['--detect-local-mode=PodCIDR']],
      [['--proxy-mode=kernelspace']],
      [['--proxy-mode=ipvs', '--ipvs-exclude-cidrs=x']],
      [['--proxy-mode=ipvs', '--ipvs-tcp-timeout=-1s']],
      [['--conntrack-min=-1']],
      [['--healthz-bind-address=localhost:1']],
      [['--metrics-bind-address=192.0.2.1:70000']],
      [['--hostname-override= ']],
      [['--logging-format=xml']],
      [['--vmodule=a=b']],
      [['extra']],
      [['-proxy-mode=iptables']],
      [['--masquerade-all', 'false']],
      [['--masquerade-bit=3']],
    ])('refuses %j as kube-proxy does', async (argv) => {
      expect(await written('kube-proxy', argv)).toBeUndefined();
      expect(await written('Switchyard', argv)).toBeUndefined();
    });

    it.each([
      'iptables: {masqueradeAll: "true"}\n',
      'hostnameOverride: 123\n',
      'iptables: {syncPeriod: 30}\n',
      'iptables: {masqueradeBit: 14.5}\n',
      'oomScoreAdj: 99999999999\n',
      'nodePortAddresses: 10.0.0.0/8\n',
      'featureGates: {Nope: true}\n',
      'featureGates: {ComponentFlagz: "true"}\n',
      'logging: {verbosity: -1}\n',
      'configSyncPeriod: -1s\n',
      'mode: {a: b}\n',
      'iptables: 3\n',
      'a: [\n',
    ])('refuses the file %j as kube-proxy does', async (body) => {
      const config = fileOf(body);
      expect(await written('kube-proxy', [config])).toBeUndefined();
      expect(await written('Switchyard', [config])).toBeUndefined();
    });

    it('knows every feature gate that kube-proxy knows', async () => {
      const help = execFileSync('unshare', ['--net', ...upstream, '--help'], {
        encoding: 'utf8',
      });
      const names = [...help.matchAll(/([A-Z]\w+)=true\|false \(/g)].map(([, name = '']) => name);
      expect(names.length).toBeGreaterThan(100);
      const gates = [...new Set(names)].map((name) => `${name}=true`).join(',');
      expect(await written('Switchyard', [`--feature-gates=${gates}`])).toBeDefined();
    });
  },
);
