// Services reach the pods of every node, where Switchyard runs both the pods and the Services: by cluster IP, node port and the variables of
// a pod, and no request fails while a Deployment rolls over to another template; in iptables mode and in userspace mode.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from './ask.ts';
import {
  WorkloadCluster,
  chosen,
  restarts,
  serves,
  spread,
  template,
  waits,
} from './workload-cluster.ts';
import type { PlacedPod } from './workload-cluster.ts';

const world = new WorkloadCluster();
const app = 'web';

/** What a client in a pod says for each of its requests: the answer, or that there was none. */
const asks = `trap "exit 0" TERM
while true; do
  timeout 3 wget -qO- http://$WEB_SERVICE_HOST:$WEB_SERVICE_PORT/ 2>/dev/null || echo failed
  sleep 0.1
done`;

/** Of a proxy. */
const healthPort = 10_256;
const modeUrl = 'http://127.0.0.1:10249/proxyMode';

let nodePort = 0;
let clusterIP = '';

/** A server is asked until nobody knows of it any more, and some time longer. */
function server(version: string): object {
  const probe = { httpGet: { port: 8080 }, periodSeconds: 1 };
  const more = {
    env: [{ name: 'VERSION', value: version }],
    readinessProbe: probe,
    lifecycle: { preStop: { sleep: { seconds: 5 } } },
  };
  return template(app, serves, more, spread(app));
}

beforeAll(async () => {
  await world.start();
  const ports = [{ port: 80, targetPort: 8080 }];
  await world.make('Service', app, { spec: { type: 'NodePort', selector: { app }, ports } });
  const headless = { clusterIP: 'None', selector: { app }, ports: [{ port: 8080 }] };
  await world.make('Service', 'bare', { spec: headless });
  const service = await world.get<{
    spec: { clusterIP: string; ports: readonly { nodePort: number }[] };
  }>('Service', app);
  clusterIP = service?.spec.clusterIP ?? '';
  nodePort = service?.spec.ports[0]?.nodePort ?? 0;
  const strategy = { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } };
  const spec = { replicas: 2, strategy, ...chosen(app), template: server('0') };
  await world.make('Deployment', app, { spec });
  await world.ready(`app=${app}`, 2);
  const clients = template('client', asks);
  await world.make('DaemonSet', 'client', { spec: { ...chosen('client'), template: clients } });
  await world.ready('app=client', 2);
});

afterAll(async () => {
  await world.stop();
});

/** Asks both nodes' ports over and over, from outside, until it is stopped; tells all answers. */
function askSteadily(): {
  readonly answers: readonly string[];
  readonly stop: () => Promise<void>;
} {
  const answers: string[] = [];
  const over = new AbortController();
  const asking = world.cluster.nodes.map(async ({ address }) => {
    while (!over.signal.aborted) {
      answers.push(await ask(address, nodePort));
      await delay(50);
    }
  });
  return {
    answers,
    stop: async () => {
      over.abort();
      await Promise.all(asking);
    },
  };
}

/** Each line is an answer. */
async function clientLines(pod: PlacedPod): Promise<readonly string[]> {
  return (await world.logOf(pod)).trim().split('\n');
}

const clients = async (): Promise<readonly PlacedPod[]> => world.pods('app=client');

/** Waits until this client has had an answer from each of these pods since it was last looked at. */
async function reaches(client: PlacedPod, servers: readonly PlacedPod[]): Promise<void> {
  const before = (await clientLines(client)).length;
  let seen: readonly string[] = [];
  await world.until(
    `${client.metadata.name} has reached ${servers.length} pods`,
    async () => {
      seen = (await clientLines(client)).slice(before);
      return servers.every(({ metadata }) => seen.some((line) => line.endsWith(metadata.name)));
    },
    60,
    () => seen.slice(-20),
  );
}

describe.each(['iptables', 'userspace'] as const)('in %s mode', (mode) => {
  beforeAll(async () => {
    const before = await world.pods('');
    await world.proxyMode(mode);
    for (const node of world.cluster.nodes) {
      await world.until(
        `the proxy of ${node.name} works, and what another left is gone`,
        async () => {
          const rules = node.run('iptables-save', '-t', 'nat');
          const isLeft = mode === 'userspace' && rules.includes('KUBE-SVC-');
          return (
            !isLeft && (await ask(node.address, healthPort, '/healthz')).includes('lastUpdated')
          );
        },
      );
      expect(node.run('busybox', 'wget', '-qO-', modeUrl)).toBe(mode);
    }
    for (const client of await clients())
      await world.until(`the kubelet of ${client.spec.nodeName} answers`, async () =>
        clientLines(client).then(
          () => true,
          () => false,
        ),
      );
    // Other proxies, and another kubelet: the pods are the ones that there were.
    const after = await world.pods('');
    expect(after.map(({ metadata }) => metadata.uid)).toEqual(
      before.map(({ metadata }) => metadata.uid),
    );
    expect(after.map(restarts)).toEqual(after.map(() => 0));
  });

  it('the pods of both nodes are reached from pods and from outside', async () => {
    const servers = await world.ready(`app=${app}`, 2);
    expect(new Set(servers.map(({ spec }) => spec.nodeName))).toEqual(new Set(['n1', 'n2']));
    for (const client of await clients()) await reaches(client, servers);
    for (const { address } of world.cluster.nodes) {
      const seen = new Set<string>();
      await world.until(`${address}:${nodePort} has answered for both pods`, async () => {
        seen.add((await ask(address, nodePort)).split(' ')[1] ?? '');
        return servers.every(({ metadata }) => seen.has(metadata.name));
      });
    }
  });

  it('no request fails while all pods are replaced', async () => {
    const old = await world.ready(`app=${app}`, 2);
    const lines = new Map<string, number>();
    for (const client of await clients()) {
      lines.set(client.metadata.name, (await clientLines(client)).length);
    }
    const outside = askSteadily();
    await world.change('Deployment', app, { spec: { template: server(mode) } });
    const names = new Set(old.map(({ metadata }) => metadata.name));
    const replaced = await world.ready(
      `app=${app}`,
      2,
      ({ metadata }) => !names.has(metadata.name),
    );
    for (const client of await clients()) await reaches(client, replaced);
    await outside.stop();
    const inside = await Promise.all(
      (await clients()).map(async (client) =>
        (await clientLines(client)).slice(lines.get(client.metadata.name)),
      ),
    );
    for (const answers of [outside.answers, ...inside]) {
      expect(answers.filter((line) => line.includes('failed'))).toEqual([]);
      const from = new Set(answers.map((line) => line.split(' ')[1]));
      for (const { metadata } of [...old, ...replaced]) expect(from).toContain(metadata.name);
    }
  });
});

describe('a headless Service', () => {
  it('has no variables, and its endpoints are the pods themselves', async () => {
    const [client = expect.fail()] = await clients();
    const variables = await world.exec(client, 'env');
    expect(variables).toContain(`WEB_SERVICE_HOST=${clusterIP}\n`);
    expect(variables).toContain(`WEB_PORT_80_TCP_ADDR=${clusterIP}\n`);
    expect(variables).not.toContain('BARE_');
    const servers = await world.ready(`app=${app}`, 2);
    interface Slice {
      readonly metadata: { readonly name: string };
      readonly endpoints: readonly { readonly addresses: readonly string[] }[];
    }
    const slices = await world.list<Slice>('EndpointSlice', 'kubernetes.io/service-name=bare');
    const addresses = slices.flatMap(({ endpoints }) =>
      endpoints.flatMap((each) => each.addresses),
    );
    expect(addresses.toSorted()).toEqual(
      servers.map(({ status }) => status.podIP ?? '').toSorted(),
    );
    for (const address of addresses) {
      const said = await world.exec(client, 'wget', '-qO-', `http://${address}:8080/`);
      expect(servers.map(({ metadata }) => metadata.name)).toContain(said.trim().split(' ')[1]);
    }
  });

  it('lets a pod that comes later see what has come before it', async () => {
    await world.make('Service', 'later', { spec: { selector: { app }, ports: [{ port: 81 }] } });
    const [earlier = expect.fail()] = await clients();
    await world.make('Pod', 'late', template('late', waits));
    const [late = expect.fail()] = await world.ready('app=late', 1);
    expect(await world.exec(late, 'env')).toContain('LATER_SERVICE_PORT=81\n');
    expect(await world.exec(earlier, 'env')).not.toContain('LATER_');
  });

  it('has pods none of which ran twice', async () => {
    expect(await world.runs.twice()).toEqual([]);
    for (const node of world.cluster.nodes) expect(await world.runs.missed(node)).toEqual([]);
  });
});
