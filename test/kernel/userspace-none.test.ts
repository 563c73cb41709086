// Userspace mode without portals: no rule, no tool, no privilege. What it serves, it serves at places of its own.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually, lab4, manyRequests } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import type { PodName, ServiceOptions } from './contract-objects.ts';
import { undrained } from './userspace-listeners.ts';

const isLinux = process.platform === 'linux';
const able = isLinux && process.getuid?.() === 0;

describe.skipIf(!able)(
  'userspace mode without portals (needs root: it makes network namespaces)',
  () => {
    let lab: NodeLab;
    let agent: AgentProcess;
    let rulesBefore = '';

    const rules = async (): Promise<string> =>
      lab.onNode('sh', '-c', 'iptables-save; ip6tables-save; ipset list -n');

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      await lab.write('node', nodeObject());
      rulesBefore = await rules();
      // Without a PATH no tool can be run.
      const command = ['env', '-i', `HOME=${lab.folder}`, ...proxyCommand()];
      agent = lab.startClusterAgent(
        [
          '--mode=userspace',
          '--userspace-portals=none',
          '--userspace-workers=2',
          `--source=file:${lab.manifests}`,
          '--hostname-override=node-a',
          '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
          '--iptables-min-sync-period=10ms',
          '--iptables-sync-period=1s',
        ],
        command,
      );
    });

    afterAll(async () => {
      await agent.stop();
      await lab.close();
    });

    async function publish(name: string, options: ServiceOptions, ...pods: readonly PodName[]) {
      await lab.write(name, service(name, options), ...slices(name, pods));
    }

    /** Where a frontend listens, from the table that the agent prints: the last line of it counts. */
    async function placeOf(frontend: string): Promise<{ to: string; port: number }> {
      const line = new RegExp(
        `${frontend.replaceAll('.', String.raw`\.`)} +([\\d.]+):(\\d+)$`,
        'gm',
      );
      const look = async (): Promise<RegExpExecArray | undefined> =>
        [...agent.log.matchAll(line)].at(-1);
      const [, to = '', port = ''] = (await eventually(look, (match) => match !== undefined)) ?? [];
      return { to, port: Number(port) };
    }

    const names = async (
      actor: 'node' | 'client',
      question: { to: string; port: number; proto?: 'udp'; from?: string },
    ) => Object.keys(await lab.tally(actor, question, manyRequests));

    test('each Service is at a loopback address of its own, over TCP and UDP', async () => {
      await publish('web', { host: 10 }, 'pod-a', 'pod-b', 'remote');
      const web = await placeOf('cluster IP 10.96.0.10:80/TCP');
      expect(web.to).toMatch(/^127\.(?!0\.)/);
      expect(await names('node', web)).toEqual(['pod-a', 'pod-b', 'remote']);
      const udp = await placeOf('cluster IP 10.96.0.10:80/UDP');
      expect(await names('node', { ...udp, proto: 'udp' })).toEqual(['pod-a', 'pod-b', 'remote']);
      await publish('web', { host: 10 }, 'pod-b');
      await eventually(
        async () => (await names('node', web)).join(),
        (seen) => seen === 'pod-b',
      );
      expect(await placeOf('cluster IP 10.96.0.10:80/TCP')).toEqual(web);
    });

    test('node ports answer on 127.0.0.1, and external IPs of this machine to whom they are for', async () => {
      await publish(
        'lb',
        {
          host: 11,
          type: 'LoadBalancer',
          nodePort: 30_011,
          ingress: [lab4.node, '203.0.113.11'],
          sourceRanges: ['198.18.7.0/24'],
        },
        'pod-a',
      );
      expect(await placeOf('node port 30011/TCP')).toEqual({ to: '127.0.0.1', port: 30_011 });
      expect(await names('node', { to: '127.0.0.1', port: 30_011 })).toEqual(['pod-a']);
      const balanced = await placeOf(`load balancer IP ${lab4.node}:80/TCP`);
      expect(await names('client', { ...balanced, from: '198.18.7.9' })).toEqual(['pod-a']);
      expect(await names('client', { ...balanced, from: '198.18.8.9' })).toEqual(['closed']);
      expect(agent.log).toMatch(
        /load balancer IP 203\.0\.113\.11:80\/TCP +- \(no address of this machine\)/,
      );
    });

    test('policies and affinity count, and who has no endpoint is not there', async () => {
      await publish('inner', { host: 12, internalPolicy: 'Local' }, 'pod-b', 'remote');
      expect(await names('node', await placeOf('cluster IP 10.96.0.12:80/TCP'))).toEqual(['pod-b']);
      await publish('sticky', { host: 13, affinitySeconds: 600 }, 'pod-a', 'pod-b', 'remote');
      expect(await names('node', await placeOf('cluster IP 10.96.0.13:80/TCP'))).toHaveLength(1);
      await publish('empty', { host: 14 });
      await eventually(
        async () => agent.log,
        (said) => /cluster IP 10\.96\.0\.14:80\/TCP +- \(no endpoints\)/.test(said),
      );
    });

    test('a place that is taken is named, and the rest works', async () => {
      await lab.serve('node', {
        proto: 'tcp',
        address: '127.0.0.1',
        port: 30_015,
        name: 'somebody',
      });
      await publish('np', { host: 15, type: 'NodePort', nodePort: 30_015 }, 'pod-c');
      const cluster = await placeOf('cluster IP 10.96.0.15:80/TCP');
      expect(await names('node', cluster)).toEqual(['pod-c']);
      expect(agent.log).toContain('127.0.0.1:30015 is in use by another program (EADDRINUSE)');
    });

    test('connections survive another node port, another name of the port and another policy', async () => {
      const kept = { host: 16, type: 'NodePort' } as const;
      await lab.write('kept', ...undrained('kept', { ...kept, nodePort: 30_016 }));
      const old = await placeOf('node port 30016/TCP');
      const held = [
        await lab.open('node', old),
        await lab.open('node', await placeOf('cluster IP 10.96.0.16:80/TCP')),
      ];
      await lab.write('kept', ...undrained('kept', { ...kept, nodePort: 30_017 }));
      await placeOf('node port 30017/TCP');
      await eventually(
        async () => lab.ask('node', old),
        (seen) => seen === 'refused',
      );
      await lab.write('kept', ...undrained('kept', { ...kept, nodePort: 30_018 }, 'main'));
      await placeOf('default/kept:main +node port 30018/TCP');
      await lab.write(
        'kept',
        ...undrained('kept', { ...kept, nodePort: 30_019, internalPolicy: 'Local' }, 'main'),
      );
      await placeOf('node port 30019/TCP');
      for (const connection of held) expect(await connection.again()).toEqual(connection.first);
      // Its endpoint goes, and so do they.
      await lab.write('kept', undrained('kept', { ...kept, nodePort: 30_019 }, 'main')[0]);
      for (const connection of held) {
        await eventually(
          async () => connection.again(),
          (seen) => typeof seen === 'string',
        );
        await connection.close();
      }
    });

    test('nothing of the machine is touched', async () => {
      await publish('web', { host: 10 }, 'pod-a');
      await placeOf('cluster IP 10.96.0.10:80/TCP');
      expect(await rules()).toBe(rulesBefore);
      expect(agent.log).not.toContain('cannot');
      expect(existsSync(join(lab.folder, '.local/state/switchyard/userspace.json'))).toBe(true);
    });
  },
);

/** What a user without rights does: pods on the loopback device, and an agent that may not have ports below 1024. */
const rootless = `
set -e
ip link set lo up
ip addr add 10.244.0.5/32 dev lo
"$NODE" -e '
  require("net").createServer((s) => s.end("pod-a\\n")).listen(8080, "10.244.0.5");
' &
pod=$!
setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service \\
  env -i HOME="$HOME_DIR" "$NODE" "$MAIN" proxy --mode=userspace --userspace-portals=none \\
  --source=file:"$MANIFESTS" --hostname-override=laptop > "$HOME_DIR/said" 2>&1 &
agent=$!
until grep -q 'LISTENS AT' "$HOME_DIR/said"; do kill -0 $agent; sleep 0.05; done
place=$(sed -n 's/.*10\\.96\\.0\\.10:80.TCP  *//p' "$HOME_DIR/said")
"$NODE" -e '
  const [host, port] = process.argv[1].split(":");
  require("net").connect(port, host).on("data", (d) => process.stdout.write(host + ":" + port + " " + d));
' "$place"
kill $agent; wait $agent; echo "status $?"
kill $pod
cat "$HOME_DIR/said"
`;

const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'unshare', '-Urn'];
const hasUserNamespaces = able && spawnSync('setpriv', [...asNobody, 'true']).status === 0;

describe.skipIf(!hasUserNamespaces)(
  'userspace mode of a user without rights (needs user namespaces)',
  () => {
    let lab: NodeLab | undefined;

    afterEach(async () => {
      await lab?.close();
    });

    test('serves a manifest in namespaces of its own, with low ports moved', async () => {
      lab = await NodeLab.create('nft', 'swynone');
      await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
      const home = join(lab.folder, 'home');
      await mkdir(home);
      await promisify(execFile)('chmod', ['-R', 'a+rwX', lab.folder]);
      await writeFile(join(home, 'script'), rootless);
      const script = [...asNobody, 'sh', join(home, 'script')];
      const { stdout } = await promisify(execFile)('setpriv', script, {
        env: {
          ...process.env,
          NODE: process.execPath,
          MAIN: proxyCommand()[1],
          HOME_DIR: home,
          MANIFESTS: lab.manifests,
        },
        timeout: 50_000,
      });
      expect(stdout).toMatch(/^127\.\d+\.\d+\.\d+:10080 pod-a$/m);
      expect(stdout).toContain('status 0');
    });
  },
);
