// What the contract does not ask of an agent in ipvs mode: legacy tools, pods in the node's own network, a firewall of
// the node's own, ping, an address of another Node, settings, what drains, health check ports, and the metrics of traffic.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemTools } from '../../src/host/run-tool.ts';
import { service, slices } from '../kernel/contract-objects.ts';
import { Suite } from '../kernel/contract-suite.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually, lab4, lab6 } from '../support/node-lab.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
/** A port of the node that a pod of its own network has, and another Service as its node port. */
const shared = 30_090;
const web = { to: '10.96.0.10', port: 80 } as const;
/** External IPs of a Service: an address of another Node, and one that nobody has. */
const [taken, free] = ['198.51.100.2', '198.51.100.3'];

const echoReply = 0;
/** Sends an echo request and prints who says what: the machine may have no ping. */
const ping = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(20)
s.sendto(bytes.fromhex("0800f7fd00010001"), (sys.argv[1], 0))
reply, (who, _) = s.recvfrom(1500)
print(f"{who} says {reply[20]}")
`;

/** `default/edge`: a pod in the network of the node, at the address and port that `default/gone` has there. */
const edge = [
  service('edge', { host: 11, protocols: ['TCP'] }),
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'edge-1',
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': 'edge' },
    },
    addressType: 'IPv4',
    ports: [{ name: 'tcp', protocol: 'TCP', port: shared }],
    endpoints: [{ addresses: [lab4.node], nodeName: 'node-a', conditions: { ready: true } }],
  },
];
const gone = {
  host: 12,
  type: 'NodePort',
  nodePort: shared,
  protocols: ['TCP'],
  pods: [],
} as const;

/** `default/sharp`, which asks for both addresses, and the Node that has one of them. */
const sharp = [
  {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-b' },
    status: { addresses: [{ type: 'InternalIP', address: taken }] },
  },
  service('sharp', { host: 13, externalIPs: [taken, free] }),
  ...slices('sharp', ['pod-b']),
];

/** A Service a scheduler by hash, each with two addresses over IPv4: a virtual server each, with real servers of its own. */
const draining = [
  { scheduler: 'sh', host: 14, externalIP: '198.51.100.4' },
  { scheduler: 'mh', host: 17, externalIP: '198.51.100.5' },
].map(({ scheduler, host, externalIP }) => ({
  name: `drain-${scheduler}`,
  target: { to: `10.96.0.${host}`, port: 80 },
  options: {
    host,
    externalIPs: [externalIP],
    protocols: ['TCP'] as const,
    // By its port each connection is a client of its own.
    annotations: {
      'switchyard.io/scheduler': scheduler,
      'switchyard.io/scheduler-flags': `${scheduler}-port`,
    },
  },
}));

/** A balancer's Service with a pod of this node. */
const balanced = {
  host: 15,
  type: 'LoadBalancer',
  externalPolicy: 'Local',
  healthCheckNodePort: 31_030,
  protocols: ['TCP'],
  pods: ['pod-a'],
} as const;

/** `default/measured`, whose traffic is counted at both of its addresses. */
const measured = {
  host: 16,
  type: 'NodePort',
  nodePort: 30_080,
  protocols: ['TCP'],
  pods: ['pod-a'],
} as const;

/** Two addresses of 203.0.113.0/24, the first of which is excluded. */
const [excluded, stale] = ['203.0.113.9', '203.0.113.200'];
const settings = [
  // One of the tests waits for a look at what a stranger has changed.
  '--ipvs-sync-period=10s',
  '--ipvs-strict-arp',
  '--ipvs-exclude-cidrs=203.0.113.0/25',
  '--ipvs-tcp-timeout=11m',
  '--ipvs-tcpfin-timeout=70s',
  '--ipvs-udp-timeout=90s',
  `--nodeport-addresses=${lab4.node}/32,${lab6.node}/128`,
  '--service-traffic=bytes',
  // Each look is a run of ipvsadm.
  '--service-traffic-interval=5s',
];

/** What the metrics say where so many drain over IPv4. */
function counts(ipv4: number): readonly string[] {
  return [
    `switchyard_draining_real_servers{ip_family="IPv4"} ${ipv4}`,
    'switchyard_draining_real_servers{ip_family="IPv6"} 0',
  ];
}

describe.skipIf(!inGuest)(
  'ipvs mode with legacy tools (needs the guest of npm run test:vm)',
  () => {
    let agent: AgentProcess;
    const suite = new Suite({
      name: 'legacy tools',
      variant: 'legacy',
      start: (lab, flags) => {
        const own = flags.map((flag) => flag.replace(/^--iptables-/, '--ipvs-'));
        agent = lab.startAgent(['--proxy-mode=ipvs', ...own, ...settings]);
        return agent;
      },
      disturbances: [],
      deviations: new Set(),
      skip: [],
    });

    /** Waits until the metrics say that so many real servers drain over IPv4. */
    const drain = async (count: number): Promise<unknown> =>
      eventually(
        async () => {
          const { body } = await suite.lab.get('node', 'http://127.0.0.1:10249/metrics');
          const lines = body.split('\n');
          return lines.filter((line) => line.startsWith('switchyard_draining_real_servers{'));
        },
        (lines) => lines.toSorted().join() === counts(count).join(),
      );

    beforeAll(async () => {
      await suite.open();
      await suite.publish('web', { host: 10, pods: ['pod-b'] });
      await suite.publish('gone', gone);
      for (const { name, options } of draining)
        await suite.publish(name, { ...options, pods: ['pod-a'] });
      await suite.lab.write('edge', ...edge);
      await suite.lab.write('sharp', ...sharp);
      await suite.lab.serve('node', {
        proto: 'tcp',
        address: lab4.node,
        port: shared,
        name: 'node',
      });
    });
    afterAll(async () => suite.close());

    test('serves, by rules of that variant alone', async () => {
      for (const proto of ['tcp', 'udp'] as const) {
        expect(await suite.answers('client', { ...web, proto })).toMatchObject({
          answeredBy: 'pod-b',
        });
      }
      expect(await suite.answers('pod-a', web)).toMatchObject({ answeredBy: 'pod-b' });
      const { lab } = suite;
      expect(await lab.onNode('iptables-legacy-save')).toContain('-A KUBE-IPVS-FILTER');
      expect(await lab.onNode('iptables-nft-save')).not.toContain('KUBE-');
    });

    test('a pod of the node’s network is reached though its port is one that is refused', async () => {
      for (const actor of ['client', 'pod-a', 'node'] as const) {
        const answer = await suite.answers(actor, { to: '10.96.0.11', port: 80 });
        expect(answer).toMatchObject({ answeredBy: 'node' });
      }
      await suite.ends('client', { to: lab4.node, port: shared }, 'refused');
    });

    test('an address that is bound answers ping, from itself', async () => {
      await suite.answers('client', web);
      const { stdout } = await systemTools.run(
        'ip',
        ['netns', 'exec', suite.lab.namespace('client'), 'python3', '-c', ping, web.to],
        { timeoutMs: 60_000, signal: new AbortController().signal },
      );
      expect(stdout).toBe(`${web.to} says ${echoReply}\n`);
    });

    test('an address of another Node among the manifests is not taken, and the log says so', async () => {
      const shown = await eventually(
        async () => suite.lab.onNode('ip', 'address', 'show'),
        (text) => text.includes(`${free}/32`),
      );
      expect(shown).not.toContain(taken);
      const line = `default/sharp is not served at ${taken}: ${taken} is an address of Node node-b`;
      await eventually(
        async () => agent.log.split(line).length - 1,
        (times) => times === 1,
      );
    });

    test('strict ARP and the time-outs are set as the flags say', async () => {
      const { lab } = suite;
      for (const [key, value] of [
        ['arp_ignore', '1'],
        ['arp_announce', '2'],
      ] as const) {
        expect(await lab.onNode('sysctl', '-n', `net.ipv4.conf.all.${key}`)).toBe(`${value}\n`);
      }
      expect(await lab.onNode('ipvsadm', '-L', '--timeout')).toContain(' 660 70 90');
    });

    test('a virtual server of an excluded CIDR stays on kube-ipvs0, where any other one would go', async () => {
      const { lab } = suite;
      for (const address of [excluded, stale]) {
        await lab.onNode('ipvsadm', '-A', '-t', `${address}:80`, '-s', 'rr');
        await lab.onNode('ip', 'address', 'add', `${address}/32`, 'dev', 'kube-ipvs0');
      }
      const servers = await eventually(
        async () => lab.onNode('ipvsadm', '-L', '-n'),
        (shown) => !shown.includes(`${stale}:80`),
      );
      expect(servers).toContain(`${excluded}:80`);
    });

    test('the real servers that drain are counted, in the end those that a connection holds, and refuse nobody with sh or mh', async () => {
      for (const { target } of draining) await suite.answers('client', target);
      await drain(0);
      const held = await Promise.all(
        draining.map(async ({ target }) => suite.lab.open('client', target)),
      );
      for (const { first } of held) expect(first).toMatchObject({ answeredBy: 'pod-a' });
      for (const [before, { name, options }] of draining.entries()) {
        await suite.publish(name, { ...options, pods: ['pod-b'] });
        // A real server of each frontend is no longer wanted; one of them has a connection.
        await drain(before + 1);
      }
      const lately: Record<string, unknown> = {};
      for (const { name, target } of draining)
        lately[name] = await suite.lab.tally('client', target, 24);
      expect(lately).toEqual({ 'drain-sh': { 'pod-b': 24 }, 'drain-mh': { 'pod-b': 24 } });
      for (const each of held) {
        expect(await each.again()).toMatchObject({ answeredBy: 'pod-a' });
        await each.close();
      }
    });

    test('health check ports answer at the addresses of node ports alone', async () => {
      const statuses = async (hosts: readonly string[]): Promise<readonly number[]> => {
        const actor = hosts[0] === lab4.node ? 'client' : 'node';
        const port = balanced.healthCheckNodePort;
        const answers = hosts.map(async (host) => suite.lab.get(actor, `http://${host}:${port}/`));
        return (await Promise.all(answers)).map(({ status }) => status);
      };
      await suite.publish('balanced', balanced);
      await eventually(
        async () => statuses([lab4.node, `[${lab6.node}]`]),
        (seen) => seen.join() === '200,200',
        30_000,
      );
      expect(await statuses(['127.0.0.1', '[::1]'])).toEqual([0, 0]);
    });

    test('the metrics of traffic say what passed the kernel’s virtual servers', async () => {
      const { lab } = suite;
      const targets = [
        { to: '10.96.0.16', port: 80 },
        { to: lab4.node, port: measured.nodePort },
      ];
      await suite.publish('measured', measured);
      for (const target of targets) await suite.answers('client', target);
      for (let times = 0; times < 6; times++)
        for (const target of targets)
          expect(await lab.ask('client', target)).toMatchObject({ answeredBy: 'pod-a' });
      const servers =
        /^TCP +(?:10\.96\.0\.16:80|192\.0\.2\.1:30080) +(\d+) +\d+ +\d+ +(\d+) +(\d+)/gm;
      const passed = async (): Promise<readonly number[]> => {
        const stats = await lab.onNode('ipvsadm', '-Ln', '--stats', '--exact');
        const own = [...stats.matchAll(servers)];
        return [1, 2, 3].map((at) => own.reduce((total, each) => total + Number(each[at]), 0));
      };
      const labels = 'namespace="default",service="measured",port="tcp",protocol="TCP"';
      const told = async (): Promise<readonly number[]> => {
        const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
        return ['connections', 'received_bytes', 'sent_bytes'].map((each) => {
          const start = `switchyard_service_${each}_total{${labels}}`;
          const line = body.split('\n').find((text) => text.startsWith(start));
          return Number(line?.split(' ').at(-1) ?? 0);
        });
      };
      const [metrics] = await eventually(
        async () => [await told(), await passed()],
        ([seen, there]) => seen?.join() === there?.join(),
        30_000,
      );
      // The first one of each address, and those after it.
      expect(metrics?.[0]).toBeGreaterThanOrEqual(14);
      expect(metrics?.[2]).toBeGreaterThan(0);
    });

    test('a node that lets nothing out needs one rule for what ipvs sends on', async () => {
      const { lab } = suite;
      const own = ['-o lo', '-m conntrack --ctstate RELATED,ESTABLISHED'];
      for (const match of own) await lab.onNode('iptables', ...accept(match));
      await lab.onNode('iptables', '-w', '-P', 'OUTPUT', 'DROP');
      try {
        await suite.ends('client', web, 'timeout');
        await suite.ends('pod-a', web, 'timeout');
        await lab.onNode('iptables', ...accept('-m addrtype ! --src-type LOCAL'));
        for (const actor of ['client', 'pod-a'] as const) {
          expect(await suite.answers(actor, web)).toMatchObject({ answeredBy: 'pod-b' });
        }
        await suite.ends('node', web, 'timeout');
      } finally {
        await lab.onNode('iptables', '-w', '-P', 'OUTPUT', 'ACCEPT');
      }
    });
  },
);

function accept(match: string): readonly string[] {
  return ['-w', '-A', 'OUTPUT', ...match.split(' '), '-j', 'ACCEPT'];
}
