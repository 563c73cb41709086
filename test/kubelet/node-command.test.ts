// `switchyard node`: a Service reaches a pod with one process on the node, which watches once what both halves need, and leaves both
// behind when it is ended.
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditLog } from './audit-log.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import { proxyFlags } from './proxy-flags.ts';
import { said } from './said.ts';
import type { Said } from './said.ts';

const audit = new AuditLog();
const cluster = new KubeletCluster(['n1'], { apiServerFlags: audit.flags });
const pods = '/api/v1/namespaces/default/pods';
/** Where both stand if nobody says otherwise, and where they are looked for. */
const sockets = { kubelet: '/run/switchyard/kubelet.sock', proxy: '/run/switchyard/admin.sock' };
const program = join(import.meta.dirname, '../../src/cli/main.ts');
let node: KubeletProcess;

const machine = (): KubeletCluster['nodes'][number] => {
  const [only] = cluster.nodes;
  if (only === undefined) throw new Error('no node');
  return only;
};

beforeAll(async () => {
  audit.prepare({ users: ['system:node:n1'], verbs: ['list', 'watch'] });
  await cluster.start([pauseImage(), busyboxImage()]);
  await cluster.allowProxy(machine());
  node = cluster.kubelet(machine(), {
    flags: [`--admin-socket=${sockets.kubelet}`],
    proxyFlags: [...proxyFlags(machine()), `--admin-socket=${sockets.proxy}`],
  });
  node.start();
});

afterAll(async () => {
  await node.stop();
  await cluster.stop();
});

/** What the node has asked to watch: how often each resource, by its name. */
function watches(): Readonly<Record<string, number>> {
  const asked = audit
    .events()
    .filter(({ verb, stage }) => verb === 'watch' && stage === 'RequestReceived')
    .map(({ objectRef }) => objectRef?.resource ?? '');
  const names = [...new Set(asked)].toSorted();
  return Object.fromEntries(
    names.map((name) => [name, asked.filter((each) => each === name).length]),
  );
}

const container = (script: string): object => ({
  name: 'main',
  image: 'local/busybox:1',
  imagePullPolicy: 'Never',
  command: ['sh', '-c', script],
});

async function startPod(name: string, spec: object): Promise<void> {
  await cluster.control.must('POST', pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { nodeName: 'n1', terminationGracePeriodSeconds: 1, ...spec },
  });
}

interface Seen {
  readonly status: {
    readonly phase: string;
    readonly containerStatuses?: readonly {
      readonly containerID: string;
      readonly state: { readonly terminated?: { readonly message: string } };
    }[];
  };
}

async function phase(name: string): Promise<string | undefined> {
  return (await cluster.get<Seen>(`${pods}/${name}`))?.status.phase;
}

/** A request that busybox can make: its wget looks names up, which a static program cannot. */
const request = (host: string, port: string): string =>
  `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${host} ${port} | grep hello`;

/** Through the Service, from the node itself. */
function ask(address: string): string {
  return machine().run('busybox', 'sh', '-c', request(address, '80'));
}

/** A command of Switchyard on the node, whatever it ends with. */
async function command(...words: readonly string[]): Promise<Said> {
  const [file = '', ...rest] = machine().enter(process.execPath, program, ...words);
  return said(file, rest);
}

async function running(): Promise<readonly string[]> {
  const { containers } = await machine()
    .connect()
    .runtime.listContainers({
      filter: { state: { state: 1 } },
    });
  return containers.map(({ id }) => id).toSorted();
}

describe('both halves in one process', () => {
  let address = '';

  it('let a Service reach a pod, and tell a pod of the Service', async () => {
    const made = (await cluster.control.must('POST', '/api/v1/namespaces/default/services', {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    })) as { readonly spec: { readonly clusterIP: string } };
    address = made.spec.clusterIP;
    await cluster.control.until('there is a default account', async () => cluster.hasAccount());
    await startPod('web', { containers: [container('exec httpd -f -p 8080 -h /www')] });
    await node.until('web runs', async () => (await phase('web')) === 'Running');
    await startPod('talks', { containers: [container('echo said in a pod; exec sleep 100000')] });
    await node.until('it talks', async () => (await phase('talks')) === 'Running');
    const asks = request('$WEB_SERVICE_HOST', '$WEB_SERVICE_PORT');
    const script = `until ${asks} > /dev/termination-log; do sleep 0.2; done`;
    await startPod('client', {
      containers: [container(script)],
      hostNetwork: true,
      restartPolicy: 'Never',
    });
    await node.until(
      'the client was answered',
      async () => (await phase('client')) === 'Succeeded',
    );
    const client = await cluster.get<Seen>(`${pods}/client`);
    const told = client?.status.containerStatuses?.[0]?.state.terminated?.message;
    expect(told).toBe('hello from busybox\n');
    expect(ask(address)).toBe(told);
  });

  it('watch once what both need, and what one needs', async () => {
    await node.until('all is watched', async () => Object.keys(watches()).length >= 6);
    expect(watches()).toEqual({
      configmaps: 1,
      endpointslices: 1,
      nodes: 1,
      pods: 1,
      servicecidrs: 1,
      services: 1,
    });
  });

  it('are asked each for what is its own, at a socket of its own', async () => {
    const status = await command('status');
    expect([status.code, status.err]).toEqual([0, '']);
    expect(status.out).toMatch(/^mode +iptables/m);
    expect(status.out).toMatch(/^kubelet$/m);
    const document = JSON.parse((await command('status', '-o', 'json')).out) as {
      readonly families: readonly { readonly family: string }[];
      readonly pid: number;
      readonly kubelet: { readonly pid: number; readonly node: { readonly name: string } };
    };
    expect(document.families.map(({ family }) => family)).toContain('IPv4');
    expect(document.kubelet).toMatchObject({ pid: document.pid, node: { name: 'n1' } });
    const explained = await command('explain', 'node', 'default/web:80');
    expect([explained.code, explained.err]).toEqual([0, '']);
    expect(explained.out).toContain(address);
    const ps = await command('ps');
    expect([ps.code, ps.err]).toEqual([0, '']);
    expect(ps.out).toMatch(/^default\/web +1\/1 +Running/m);
    const logs = await command('logs', 'talks');
    expect(logs).toEqual({ code: 0, out: 'said in a pod\n', err: '' });
  });

  it('say which of them answers, where the other one is asked', async () => {
    const explained = await command(
      'explain',
      'node',
      'default/web:80',
      `--admin-socket=${sockets.kubelet}`,
    );
    expect(explained.code).toBe(2);
    expect(explained.err).toContain(`the kubelet answers at ${sockets.kubelet}`);
    const ps = await command('ps', `--admin-socket=${sockets.proxy}`);
    expect(ps.code).toBe(2);
    expect(ps.err).toContain(`the proxy answers at ${sockets.proxy}`);
  });

  it('end in order, and leave pods and rules', async () => {
    const before = await running();
    expect(before.length).toBeGreaterThan(0);
    await node.stop();
    expect(node.ended).toMatch(/^ended with 0:/);
    expect(node.log).toContain('stopped; containers run on');
    expect(node.log).toContain('stopped; the rules stay in place');
    expect(await running()).toEqual(before);
    expect(ask(address)).toContain('hello');
  });

  it('end both where one cannot start, which is named', async () => {
    const bad = cluster.kubelet(machine(), {
      proxyFlags: [...proxyFlags(machine()), '--kubeconfig=/run/sy/missing'],
    });
    const before = await running();
    bad.start();
    await cluster.control.until('it has ended', async () => bad.ended !== undefined);
    expect(bad.ended).toMatch(/^ended with 1:/);
    expect(bad.log).toMatch(/^error: proxy: .*\/run\/sy\/missing/m);
    expect(await running()).toEqual(before);
  });
});
