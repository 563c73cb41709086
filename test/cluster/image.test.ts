import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { outsideTool } from '../support/outside-tools.ts';
import type { DaemonSet } from '../support/pod-form.ts';
import { ControlPlane } from './control-plane.ts';
import { planeFor } from './lab-plane.ts';
import { Containerd } from './containers/containerd.ts';
import type { Container, ContainerRun } from './containers/containerd.ts';
import { podContainer } from './containers/pod-container.ts';
import { HelmCluster } from './helm-cluster.ts';

const blocked = ControlPlane.blocked();
const [helm, kubectl] = await Promise.all([outsideTool('helm'), outsideTool('kubectl')]);
const name = 'switchyard.test/switchyard:test';
const root = join(import.meta.dirname, '../..');
const clusterIP = '10.96.0.77';

/** Builds the image into a folder; another time, language and umask must not show in it. */
function build(folder: string, env: NodeJS.ProcessEnv = {}, umask = 0o022): string {
  const script = `umask ${umask.toString(8)}; exec "$@"`;
  const args = ['--compression=none', `--name=${name}`, `--out=${folder}`];
  const command = [process.execPath, 'scripts/image.ts', ...args];
  const run = (more: readonly string[]): string =>
    execFileSync('sh', ['-c', script, 'sh', ...command, ...more], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  try {
    return run([]);
  } catch (error) {
    // Debian's archive has only the newest versions; what is tested here must not fail on the day of an update.
    if (!String(error).includes('no longer there')) throw error;
    console.warn('the locked packages are gone from the archive: built with newer ones');
    return run(['--newest']);
  }
}

/** The image that ships, run by a real containerd with the rights that a DaemonSet gives it. */
describe.skipIf(blocked !== undefined)(
  `the image under containerd${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let containerd: Containerd;
    let folder = '';
    let archive = '';

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      plane = planeFor(lab);
      folder = plane.folder;
      build(join(folder, 'image'));
      archive = join(folder, 'image', imageFile());
      containerd = await Containerd.start(lab.namespace('node'));
      await containerd.load(archive);
      await plane.start();
      await createObjects();
      const config = join(folder, 'config');
      mkdirSync(config);
      writeFileSync(join(config, 'kubeconfig.conf'), readFileSync(plane.kubeconfig()));
      mkdirSync(join(folder, 'state'));
      mkdirSync(join(folder, 'modules'));
    }, 300_000);

    afterAll(async () => {
      await containerd?.stop();
      await plane?.stop();
      await lab?.close();
    });

    async function createObjects(): Promise<void> {
      const metadata = { name: 'node-a' };
      await plane.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata });
      const status = { status: { addresses: [{ type: 'InternalIP', address: lab4.node }] } };
      const patch = 'application/merge-patch+json';
      await plane.must('PATCH', '/api/v1/nodes/node-a/status', status, patch);
      await plane.must('POST', '/api/v1/namespaces/default/services', {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web' },
        spec: { clusterIP, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
      });
      await plane.must('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
        addressType: 'IPv4',
        ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
        endpoints: [{ addresses: [lab4['pod-a']], conditions: { ready: true } }],
      });
    }

    const mounts = () => ({
      '/run/xtables.lock': { source: '/run/xtables.lock', writable: true },
      '/run/switchyard': { source: join(folder, 'state'), writable: true },
      '/var/lib/kube-proxy': { source: join(folder, 'config') },
      '/lib/modules': { source: join(folder, 'modules') }, // this kernel may have none
    });

    const run = async (...args: readonly string[]): Promise<ContainerRun> =>
      containerd.run(name, { args, mounts: mounts() });
    const switchyard = '/usr/local/bin/switchyard';

    const services = async (variant: string): Promise<string> =>
      lab.onNode('sh', '-c', `iptables-${variant}-save -t nat | grep KUBE-SERVICES || true`);

    /** What a kubelet brings to the node for the chart's pod. */
    const places = () => ({
      volumes: {
        config: join(folder, 'chart'),
        run: join(folder, 'state'),
        'xtables-lock': '/run/xtables.lock',
        modules: join(folder, 'modules'),
      },
      serviceAccount: join(folder, 'account'),
      fields: { 'spec.nodeName': 'node-a' },
      entryPoint: [switchyard],
    });

    const proxyFlags = [
      '/usr/local/bin/kube-proxy',
      '--mode=iptables',
      '--kubeconfig=/var/lib/kube-proxy/kubeconfig.conf',
      '--hostname-override=node-a',
      '--cluster-cidr=10.244.0.0/16',
      '--oom-score-adj=0', // a lower one takes CAP_SYS_RESOURCE; the kubelet sets it by the pod's priority class
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0s',
      '--conntrack-tcp-timeout-close-wait=0s',
    ];

    it('is the same, byte for byte, when it is built again', () => {
      build(join(folder, 'again'), { TZ: 'Asia/Tokyo', LANG: 'de_DE.UTF-8' }, 0o077);
      const again = readFileSync(join(folder, 'again', imageFile()));
      expect(again.equals(readFileSync(archive))).toBe(true);
    }, 300_000);

    it('is small: of so many bytes, somewhat more than a third is left when they are packed', () => {
      expect(statSync(archive).size).toBeLessThan(140e6);
    });

    it('starts Switchyard, under both names', async () => {
      const usage = await run();
      expect(usage).toMatchObject({ status: 2 });
      expect(usage.stderr).toContain('usage: switchyard COMMAND');
      const version = /^Switchyard \d/;
      expect((await run(switchyard, '--version')).stdout).toMatch(version);
      const asKubeProxy = await run('/usr/local/bin/kube-proxy', '--help');
      expect(asKubeProxy.stdout).toContain('--cluster-cidr');
    });

    it('has every command', async () => {
      const overview = await run(switchyard, '--help');
      const names = [...overview.stdout.matchAll(/^ {2}(?<name>[a-z]+) +[A-Z]/gm)];
      expect(names.length).toBeGreaterThan(4);
      for (const { groups } of names) {
        const help = await run(switchyard, groups?.['name'] ?? '', '--help');
        expect(help, help.stderr).toMatchObject({ status: 0, stderr: '' });
      }
    });

    it('renders manifests', async () => {
      const manifests = join(root, 'rules/01-cluster-ip-one-endpoint');
      const { status, stdout } = await containerd.run(name, {
        args: [switchyard, 'render', '-f', '/manifests', '--cluster-cidr=10.244.0.0/16'],
        mounts: { '/manifests': { source: manifests } },
      });
      expect(status).toBe(0);
      expect(stdout).toContain('-d 10.96.0.10/32 -p tcp -m comment --comment "default/web:http');
    });

    it.each([
      ['iptables --version', 'v1.8.9 (nf_tables)'],
      ['iptables-nft-save --version', '(nf_tables)'],
      ['ip6tables-legacy-restore --version', '(legacy)'],
      ['ip6tables --version', '(nf_tables)'],
      ['ipset --version', 'ipset v'],
      ['conntrack --version', 'conntrack v'],
      ['nft --version', 'nftables v'],
      ['nfacct version', 'nfacct v'],
      ['ip -V', 'iproute2'],
      ['modprobe --version', '+ZSTD +XZ'],
      ['ipvsadm --help', 'ipvs'], // where the kernel has none it says so, after modprobe has
    ])('has a tool that works: %s', async (command, expected) => {
      const { stdout, stderr } = await run(...command.split(' '));
      expect(stdout + stderr).toContain(expected);
    });

    it('knows protocols by name, as ipset needs', async () => {
      expect(await run('ipset', 'create', 'swytest', 'hash:ip,port')).toMatchObject({ status: 0 });
      const added = await run('ipset', 'add', 'swytest', '10.0.0.1,sctp:80');
      expect(added, added.stderr).toMatchObject({ status: 0 });
      await run('ipset', 'destroy', 'swytest');
    });

    it('is uid 0 with two capabilities, cannot write to its own files, and trusts the usual certificates', async () => {
      const program = `
        const { readFileSync, writeFileSync } = require('fs');
        const effective = /CapEff:\\t(\\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
        let write = '';
        try { writeFileSync('/usr/local/bin/x', ''); } catch (error) { write = error.code; }
        const certificates = require('tls').getCACertificates('extra').length;
        console.log(JSON.stringify({ effective, write, uid: process.getuid(), many: certificates > 100 }));`;
      const { stdout, stderr } = await run('node', '-e', program);
      expect(stderr).toBe('');
      const effective = '0000000000003000'; // NET_ADMIN and NET_RAW: bits 12 and 13
      expect(JSON.parse(stdout)).toEqual({ effective, write: 'EROFS', uid: 0, many: true });
    });

    describe.each(['legacy', 'nft'] as const)('on a node that uses iptables-%s', (variant) => {
      let agent: Container;
      const other = variant === 'nft' ? 'legacy' : 'nft';

      beforeAll(async () => {
        // As the kubelet does, to say which variant the node uses.
        await lab.onNode(`iptables-${variant}`, '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
        const init = await containerd.run(name, {
          args: [...proxyFlags, '--init-only'],
          privileged: true,
          mounts: mounts(),
        });
        expect(init, init.stderr).toMatchObject({ status: 0 });
        agent = containerd.start(name, 'agent', { args: proxyFlags, mounts: mounts() });
      });

      afterAll(async () => {
        await agent?.stop();
        await lab.onNode(`iptables-${variant}`, '-t', 'mangle', '-X', 'KUBE-IPTABLES-HINT');
      });

      it('a Service answers, by rules of that variant alone', async () => {
        await eventually(
          async () => lab.probe('client', { to: clusterIP, port: 80, timeoutMs: 500 }),
          (answer) => typeof answer !== 'string' && answer.answeredBy === 'pod-a',
          30_000,
        ).catch((error: unknown) => {
          throw new Error(`${String(error)}\n${agent.log}`);
        });
        expect(agent.log).toContain(`iptables tools of variant ${variant}`);
        expect(await services(variant)).toContain('KUBE-SERVICES');
        expect(await services(other)).toBe('');
      });

      it('needs no more than it was given', () => {
        expect(agent.log).not.toMatch(/"level":"(warn|error|fatal)"/);
      });

      it('ends on SIGTERM and leaves the rules, and cleanup of the same image removes them', async () => {
        expect(await agent.stop()).toBe(0);
        expect(await services(variant)).toContain('KUBE-SERVICES');
        const plan = await run(switchyard, 'cleanup', '--plan');
        expect(plan.stdout).toContain('KUBE-SERVICES');
        const cleanup = await containerd.run(name, {
          args: [switchyard, 'cleanup'],
          privileged: true,
          mounts: mounts(),
        });
        expect(cleanup, cleanup.stdout + cleanup.stderr).toMatchObject({ status: 0 });
        expect(await services(variant)).toBe('');
      });
    });

    describe.skipIf('missing' in helm || 'missing' in kubectl)('as the pod of the chart', () => {
      let agent: Container | undefined;
      let daemonSet: DaemonSet;

      beforeAll(async () => {
        const tools = [helm, kubectl].map((tool) => ('path' in tool ? tool.path : ''));
        const cluster = new HelmCluster(plane, { helm: tools[0] ?? '', kubectl: tools[1] ?? '' });
        await cluster.install({
          apiServer: { host: lab4.client, port: 6443 },
          clusterCIDR: '10.244.0.0/16',
          // The limit of connection tracking is the machine's; the OOM score is given by a kubelet, and there is none.
          config: { oomScoreAdj: 0, conntrack: { maxPerCore: 0 } },
        });
        const system = '/api/v1/namespaces/kube-system';
        const set = '/apis/apps/v1/namespaces/kube-system/daemonsets/switchyard';
        daemonSet = (await plane.must('GET', set)) as DaemonSet;
        const { serviceAccountName, volumes } = daemonSet.spec.template.spec;
        const map = volumes.find((each) => each.name === 'config')?.configMap?.name ?? '';
        const { data } = (await plane.must('GET', `${system}/configmaps/${map}`)) as {
          readonly data: Readonly<Record<string, string>>;
        };
        const form = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
        const asked = `${system}/serviceaccounts/${serviceAccountName}/token`;
        const { status } = (await plane.must('POST', asked, form)) as { status: { token: string } };
        for (const each of ['chart', 'account']) mkdirSync(join(folder, each));
        for (const [key, text] of Object.entries(data)) {
          writeFileSync(join(folder, 'chart', key), text);
        }
        writeFileSync(join(folder, 'account', 'token'), status.token);
        writeFileSync(join(folder, 'account', 'ca.crt'), plane.certificate);
      });

      afterAll(async () => {
        await agent?.stop();
      });

      it('prepares the node, serves, and complains of nothing', async () => {
        const { initContainers, containers } = daemonSet.spec.template.spec;
        const [prepare, proxy] = [initContainers[0], containers[0]];
        if (prepare === undefined || proxy === undefined) throw new Error('a container is missing');
        const init = await containerd.run(name, podContainer(prepare, places()));
        expect(init, init.stdout).toMatchObject({ status: 0 });
        agent = containerd.start(name, 'chart', podContainer(proxy, places()));
        const seen = await eventually(
          async () => lab.probe('client', { to: clusterIP, port: 80, timeoutMs: 500 }),
          (answer) => typeof answer !== 'string',
          30_000,
        ).catch((error: unknown) => {
          throw new Error(`${String(error)}\n${agent?.log}`);
        });
        expect(seen).toMatchObject({ answeredBy: 'pod-a' });
        const said = init.stdout + init.stderr + agent.log;
        expect(said).toContain('"msg":"started"');
        expect(said).not.toMatch(/"level":"(warn|error|fatal)"/);
      });
    });
  },
);

function imageFile(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return `switchyard-${version}-${process.arch === 'x64' ? 'amd64' : 'arm64'}.oci.tar`;
}
