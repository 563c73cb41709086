// `switchyard node`: a Service reaches a pod with one process on the node, which watches once what both halves need, and leaves both
// behind when it is ended.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import { proxyFlags } from './proxy-flags.ts';

const folder = '/run/sy/audit';
const auditLog = join(folder, 'audit.log');
const policy = join(folder, 'policy.json');
const cluster = new KubeletCluster(['n1'], {
  apiServerFlags: [`--audit-policy-file=${policy}`, `--audit-log-path=${auditLog}`],
});
const pods = '/api/v1/namespaces/default/pods';
let node: KubeletProcess;

const machine = (): KubeletCluster['nodes'][number] => {
  const [only] = cluster.nodes;
  if (only === undefined) throw new Error('no node');
  return only;
};

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    policy,
    JSON.stringify({
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      rules: [{ level: 'Metadata', users: ['system:node:n1'], verbs: ['list', 'watch'] }],
    }),
  );
  await cluster.start([pauseImage(), busyboxImage()]);
  await cluster.allowProxy(machine());
  node = cluster.kubelet(machine(), { proxyFlags: proxyFlags(machine()) });
  node.start();
});

afterAll(async () => {
  await node.stop();
  await cluster.stop();
});

interface AuditLine {
  readonly verb: string;
  readonly stage: string;
  readonly objectRef: { readonly resource: string };
}

/** What the node has asked to watch: how often each resource, by its name. */
function watches(): Readonly<Record<string, number>> {
  const lines = readFileSync(auditLog, 'utf8').split('\n').filter(Boolean);
  const asked = lines
    .map((line) => JSON.parse(line) as AuditLine)
    .filter(({ verb, stage }) => verb === 'watch' && stage === 'RequestReceived')
    .map(({ objectRef }) => objectRef.resource);
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
    const said = client?.status.containerStatuses?.[0]?.state.terminated?.message;
    expect(said).toBe('hello from busybox\n');
    expect(ask(address)).toBe(said);
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
