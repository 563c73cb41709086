/** What containers know of themselves and their surroundings: variables, tokens, files of the pod's own fields. */
import { Buffer } from 'node:buffer';
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { statusOf } from './test-pod.ts';
import type { TestPod } from './test-pod.ts';
import { box, forever, one } from './trial.ts';

function field(name: string, fieldPath: string): object {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** The variables that a pod's container has. */
async function variables(pod: TestPod): Promise<Readonly<Record<string, string>>> {
  await pod.running();
  const lines = (await pod.exec('main', 'env')).trim().split('\n');
  return Object.fromEntries(
    lines.map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]),
  );
}

/** What a service's variables begin with. */
function prefix(service: string): string {
  return service.toUpperCase().replaceAll('-', '_');
}

function downward(...items: readonly object[]): object {
  return {
    volumes: [{ name: 'info', downwardAPI: { items } }],
    ...one(forever, { volumeMounts: [{ name: 'info', mountPath: '/info' }] }),
  };
}

/** What a token claims. */
function claims(token: string): unknown {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
}

const labelsFile = { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } };

export const environment: readonly Scenario[] = [
  {
    number: 12,
    title: 'another label reaches the file that has the labels, and no container is restarted',
    async run(trial) {
      const pod = await trial.pod(downward(labelsFile), { labels: { a: '1' } });
      await pod.running();
      expect(await pod.exec('main', 'cat', '/info/labels')).toBe('a="1"');
      await pod.patch({ metadata: { labels: { a: '2' } } });
      await pod.until(
        'the file has it',
        async () => (await pod.exec('main', 'cat', '/info/labels')) === 'a="2"',
      );
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 63,
    title: 'a projected volume has secret, configMap, fields and a token for its audience',
    async run(trial) {
      const name = trial.name();
      await trial.secret(name, { hidden: 's' });
      await trial.configMap(name, { plain: 'c' });
      const sources = [
        { secret: { name } },
        { configMap: { name } },
        {
          downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] },
        },
        { serviceAccountToken: { path: 'token', audience: 'vault', expirationSeconds: 3600 } },
      ];
      const pod = await trial.pod({
        volumes: [{ name: 'all', projected: { sources } }],
        ...one(forever, { volumeMounts: [{ name: 'all', mountPath: '/all' }] }),
      });
      await pod.running();
      const files = ['hidden', 'plain', 'name'].map((file) => `/all/${file}`);
      expect(await pod.exec('main', 'cat', ...files)).toBe(`sc${pod.name}`);
      expect(claims(await pod.exec('main', 'cat', '/all/token'))).toMatchObject({
        aud: ['vault'],
        sub: 'system:serviceaccount:default:default',
        'kubernetes.io': { pod: { name: pod.name, uid: pod.uid } },
      });
      expect(await pod.exec('main', 'stat', '-L', '-c', '%a', '/all/token')).toBe('644\n');
    },
  },
  {
    number: 64,
    title: 'labels and annotations as files: sorted, quoted, and of one key alone',
    async run(trial) {
      const items = [
        labelsFile,
        { path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' } },
        { path: 'one', fieldRef: { fieldPath: "metadata.labels['b']" } },
        { path: 'none', fieldRef: { fieldPath: "metadata.labels['c']" } },
      ];
      const metadata = { labels: { b: '2', a: '1' }, annotations: { text: 'two\n"lines"' } };
      const pod = await trial.pod(downward(...items), metadata);
      await pod.running();
      expect(await pod.exec('main', 'cat', '/info/labels')).toBe('a="1"\nb="2"');
      const annotations = await pod.exec('main', 'cat', '/info/annotations');
      expect(annotations.split('\n')).toContain('text="two\\n\\"lines\\""');
      expect(await pod.exec('main', 'cat', '/info/one', '/info/none')).toBe('2');
    },
  },
  {
    number: 65,
    title: 'the memory limit of a container that has none is what the node can give, rounded up',
    async run(trial) {
      const resourceFieldRef = { resource: 'limits.memory', divisor: '1Mi' };
      const env = [{ name: 'MIB', valueFrom: { resourceFieldRef } }];
      const { MIB } = await variables(await trial.pod(one(forever, { env })));
      type Node = { status: { allocatable: Readonly<Record<string, string>> } };
      const node = await trial.world.cluster.get<Node>(`/api/v1/nodes/${trial.world.node}`);
      const memory = node?.status.allocatable['memory'] ?? '';
      const bytes = memory.endsWith('Ki') ? Number(memory.slice(0, -2)) * 1024 : Number(memory);
      expect(MIB).toBe(String(Math.ceil(bytes / 2 ** 20)));
    },
  },
  {
    number: 78,
    title: 'a service’s variables are all that a link of Docker had',
    async run(trial) {
      const spec = { ports: [{ name: 'pg', port: 5432 }] };
      type Service = { metadata: { name: string }; spec: { clusterIP: string } };
      const service = await trial.create<Service>('Service', 'services', { spec });
      const ip = service.spec.clusterIP;
      const begins = prefix(service.metadata.name);
      const links = Object.entries({
        SERVICE_HOST: ip,
        SERVICE_PORT: '5432',
        SERVICE_PORT_PG: '5432',
        PORT: `tcp://${ip}:5432`,
        PORT_5432_TCP: `tcp://${ip}:5432`,
        PORT_5432_TCP_PROTO: 'tcp',
        PORT_5432_TCP_PORT: '5432',
        PORT_5432_TCP_ADDR: ip,
      });
      const expected = Object.fromEntries(links.map(([key, value]) => [`${begins}_${key}`, value]));
      // The kubelet has heard of the service by then.
      const initContainers = [box('wait', 'sleep 1')];
      const found = await variables(await trial.pod({ initContainers, ...one(forever) }));
      expect(found).toMatchObject({ ...expected, KUBERNETES_SERVICE_PORT_HTTPS: '443' });
    },
  },
  {
    number: 79,
    title: 'without service links there are the variables of kubernetes alone',
    async run(trial) {
      const spec = { ports: [{ port: 80 }] };
      await trial.create('Service', 'services', { spec });
      const found = await variables(
        await trial.pod({ enableServiceLinks: false, ...one(forever) }),
      );
      const hosts = Object.keys(found).filter((name) => name.endsWith('_SERVICE_HOST'));
      expect(hosts).toEqual(['KUBERNETES_SERVICE_HOST']);
    },
  },
  {
    number: 80,
    title: 'a headless service has no variables; one of IPv6 has its address in brackets',
    async run(trial) {
      const ports = [{ port: 80 }];
      const [none, six] = [trial.name(), trial.name()];
      await trial.create('Service', 'services', {
        metadata: { name: none },
        spec: { clusterIP: 'None', ports },
      });
      const made = await trial.create<{ readonly spec: { readonly clusterIP: string } }>(
        'Service',
        'services',
        { metadata: { name: six }, spec: { ipFamilies: ['IPv6'], ports } },
      );
      const { clusterIP } = made.spec;
      const pod = await trial.pod(one(forever));
      const found = await variables(pod);
      expect(found).toMatchObject({
        [`${prefix(six)}_SERVICE_HOST`]: clusterIP,
        [`${prefix(six)}_PORT`]: `tcp://[${clusterIP}]:80`,
        [`${prefix(six)}_PORT_80_TCP_ADDR`]: clusterIP,
      });
      expect(clusterIP).toMatch(/^fd00:/);
      expect(Object.keys(found).filter((name) => name.startsWith(prefix(none)))).toEqual([]);
    },
  },
  {
    number: 81,
    title: 'a variable is expanded with those declared before it',
    async run(trial) {
      const env = [
        { name: 'EARLY', value: '$(LATE)' },
        { name: 'LATE', value: '1' },
        { name: 'AFTER', value: '$(LATE)' },
        { name: 'ESCAPED', value: '$$(LATE)' },
      ];
      expect(await variables(await trial.pod(one(forever, { env })))).toMatchObject({
        EARLY: '$(LATE)',
        AFTER: '1',
        ESCAPED: '$(LATE)',
      });
    },
  },
  {
    number: 82,
    title: 'a key that is missing: left out where it is optional, else the container waits',
    async run(trial) {
      const name = trial.name();
      await trial.configMap(name, { here: '1' });
      const ref = (optional: boolean): object => ({
        env: [{ name: 'GONE', valueFrom: { configMapKeyRef: { name, key: 'none', optional } } }],
      });
      const optional = await trial.pod(one(forever, ref(true)));
      const needed = await trial.pod(one(forever, ref(false)));
      expect(await variables(optional)).not.toHaveProperty('GONE');
      const status = await needed.waiting('CreateContainerConfigError');
      expect(statusOf(status, 'main')?.state.waiting?.message).toBe(
        `couldn't find key none in ConfigMap default/${name}`,
      );
    },
  },
  {
    number: 83,
    title: 'whole objects come first, later ones over earlier ones, and its own variables over all',
    async run(trial) {
      const [first, second] = [trial.name(), trial.name()];
      await trial.configMap(first, { a: 'first', b: 'first', c: 'first' });
      await trial.configMap(second, { b: 'second', c: 'second' });
      const envFrom = [first, second].map((name) => ({ prefix: 'P_', configMapRef: { name } }));
      const env = [{ name: 'P_c', value: 'own' }];
      const pod = await trial.pod(one(forever, { envFrom, env }));
      expect(await variables(pod)).toMatchObject({ P_a: 'first', P_b: 'second', P_c: 'own' });
    },
  },
  {
    number: 84,
    title: 'in the node’s network the pod’s address is the node’s',
    async run(trial) {
      const env = [field('POD', 'status.podIP'), field('HOST', 'status.hostIP')];
      const pod = await trial.pod({ hostNetwork: true, ...one(forever, { env }) });
      const { address } = trial.world.runtime.node;
      expect(await variables(pod)).toMatchObject({ POD: address, HOST: address });
    },
  },
];
