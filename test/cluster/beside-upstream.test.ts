// What operators and their tools read of a proxy over HTTP is what upstream's kube-proxy gives them: metrics, health, configuration.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WireEvent } from '../../src/telemetry/events.ts';
import { service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { parseExposition, whatIsMissing } from '../support/exposition.ts';
import type { ExposedMetric, KnownDifference } from '../support/exposition.ts';
import { eventually, lab4, lab6 } from '../support/node-lab.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane } from './control-plane.ts';
import { TwinNodes } from './twin-nodes.ts';
import type { Twin } from './twin-nodes.ts';

const blocked = ControlPlane.blocked();
const merge = 'application/merge-patch+json';
const twins = ['switchyard', 'upstream'] as const;

/** What of upstream's metrics is not there, or is another one, and why. */
const known: readonly KnownDifference[] = [
  {
    metrics: /^go_/,
    reason: 'the runtime is not Go: nodejs_* says the same of ours',
  },
  {
    metrics: /^(?:aggregator|apiserver|node_collector)_/,
    reason:
      'not of the proxy: the binary that it runs in here has the API server and the controllers too',
  },
  {
    metrics: /^(?:registered|disabled|hidden)_metrics_total$|^cardinality_enforcement_/,
    reason: 'about the library that upstream makes its metrics with',
  },
  {
    metrics: /^rest_client_rate_limiter_/,
    reason: 'nothing limits the rate of a few watches',
  },
  {
    metrics: /^rest_client_(?:exec_plugin|transport)_/,
    reason: "about the insides of client-go's transports and plugins",
  },
];

/** Settings that come to something else, as the flags of the test and the modes that do not run have it. */
const otherSettings = new Set(
  [
    'ipvs.syncPeriod',
    'logging.format', // where nothing is said: text on a terminal, else JSON
    'nftables.minSyncPeriod',
    'nftables.syncPeriod',
    'oomScoreAdj',
  ].map((path) => `.kubeproxy.config.k8s.io.${path}`),
);

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A program for Node: asks for an URL and prints the answer. */
const asking = `
const [url, method] = process.argv.slice(1);
const answer = await fetch(url, { method });
const { status } = answer;
const headers = Object.fromEntries(answer.headers);
console.log(JSON.stringify({ status, headers, body: await answer.text() }));
`;

describe.skipIf(blocked !== undefined)(
  `what is read over HTTP, beside upstream's kube-proxy${blocked ? ` (${blocked})` : ''}`,
  () => {
    let nodes: TwinNodes;
    const agents: AgentProcess[] = [];

    beforeAll(async () => {
      nodes = await TwinNodes.create('nft');
      for (const twin of twins) agents.push(nodes.startProxy(twin, ['--profiling']));
      await createObject(
        nodes.plane,
        service('web', { host: 20, type: 'NodePort', nodePort: 30_020 }),
      );
      await createObject(
        nodes.plane,
        service('local', {
          host: 21,
          type: 'LoadBalancer',
          externalPolicy: 'Local',
          internalPolicy: 'Local',
          healthCheckNodePort: 31_021,
        }),
      );
      const all = [...slices('web', ['pod-a', 'remote']), ...slices('local', ['pod-a', 'pod-b'])];
      for (const slice of all) await createObject(nodes.plane, slice);
      // A change after the first sync, as the controllers make it, for the latency.
      for (const twin of twins) await programmed(twin);
      const change = {
        metadata: {
          annotations: {
            'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString(),
          },
        },
        endpoints: [],
      };
      const path = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-ipv4-8080';
      await nodes.plane.must('PATCH', path, change, merge);
    });

    afterAll(async () => {
      await Promise.all(agents.map(async (agent) => agent.stop()));
      await nodes?.close();
    });

    async function ask(twin: Twin, url: string, method = 'GET'): Promise<Answer> {
      const program = ['--input-type=module', '-e', asking, url, method];
      return JSON.parse(await nodes.labs[twin].onNode(process.execPath, ...program)) as Answer;
    }

    async function both(url: string, method = 'GET'): Promise<Readonly<Record<Twin, Answer>>> {
      const [ours, theirs] = await Promise.all(twins.map(async (twin) => ask(twin, url, method)));
      if (ours === undefined || theirs === undefined) throw new Error('two were asked');
      return { switchyard: ours, upstream: theirs };
    }

    async function programmed(twin: Twin): Promise<void> {
      await eventually(
        async () => nodes.labs[twin].get('node', 'http://127.0.0.1:31021/'),
        ({ status, body }) => status === 200 && body.includes('"localEndpoints": 2'),
        60_000,
      ).catch((error: unknown) => {
        throw new Error(`${twin}: ${agents.map(({ log }) => log).join('\n---\n')}`, {
          cause: error,
        });
      });
    }

    it('has every metric of upstream, with its type, labels and buckets', async () => {
      const scraped = await eventually(
        async () => both('http://127.0.0.1:10249/metrics'),
        ({ switchyard, upstream }) =>
          [switchyard, upstream].every(({ body }) =>
            /kubeproxy_network_programming_duration_seconds_count\S* [1-9]/.test(body),
          ),
      );
      const ours = parseExposition(scraped.switchyard.body);
      const theirs = parseExposition(scraped.upstream.body);
      expect(namesOf(theirs).length).toBeGreaterThan(15);
      expect(whatIsMissing(ours, theirs, known)).toEqual([]);
    });

    it('has what is asked for below /metrics/slis', async () => {
      const { switchyard, upstream } = await both('http://127.0.0.1:10249/metrics/slis');
      const theirs = parseExposition(upstream.body);
      expect(whatIsMissing(parseExposition(switchyard.body), theirs, [])).toEqual([]);
    });

    it.each(['http://127.0.0.1:10249/proxyMode', 'http://127.0.0.1:10249/healthz'])(
      'answers %s in the same words',
      async (url) => {
        const { switchyard, upstream } = await both(url);
        expect(shown(switchyard)).toEqual(shown(upstream));
      },
    );

    it.each(['http://127.0.0.1:10256/healthz', 'http://127.0.0.1:10256/livez'])(
      'answers %s with the same fields',
      async (url) => {
        const { switchyard, upstream } = await both(url);
        expect(fieldsOf(switchyard)).toEqual(fieldsOf(upstream));
        expect(shown({ ...switchyard, body: '' })).toEqual(shown({ ...upstream, body: '' }));
      },
    );

    it.each([
      ['http://127.0.0.1:31021/', 'GET'],
      ['http://[::1]:31021/anything', 'POST'],
    ])('answers load balancers at %s in the same words', async (url, method) => {
      const { switchyard, upstream } = await both(url, method);
      expect(shown(switchyard)).toEqual(shown(upstream));
      expect(switchyard.headers['x-load-balancing-endpoint-weight']).toBe(
        upstream.headers['x-load-balancing-endpoint-weight'],
      );
    });

    it('shows every field of the configuration at /configz, with the same values', async () => {
      const { switchyard, upstream } = await both('http://127.0.0.1:10249/configz');
      expect(shown({ ...switchyard, body: '' })).toEqual(shown({ ...upstream, body: '' }));
      const [ours, theirs] = [switchyard, upstream].map(({ body }) => leavesOf(JSON.parse(body)));
      const different = [...(theirs ?? [])].filter(
        ([path, value]) => ours?.get(path) !== value && !otherSettings.has(path),
      );
      expect(
        different.map(([path, value]) => `${path}: ${value}, ours ${ours?.get(path)}`),
      ).toEqual([]);
    });

    it.each(['statusz', 'flagz'])('has a text for people at /%s', async (page) => {
      const { switchyard, upstream } = await both(`http://127.0.0.1:10249/${page}`);
      expect(shown({ ...switchyard, body: '' })).toEqual(shown({ ...upstream, body: '' }));
      const [own, other] = [switchyard, upstream].map(({ body }) => body.split('\n').slice(0, 3));
      expect(own).toEqual(other);
    });

    it.each([
      'http://127.0.0.1:10256/',
      'http://127.0.0.1:10256/metrics',
      'http://127.0.0.1:10249/livez',
      'http://127.0.0.1:10249/debug/pprof/none',
    ])('has nothing at %s', async (url) => {
      const { switchyard, upstream } = await both(url);
      expect([switchyard.status, upstream.status]).toEqual([404, 404]);
    });

    it('says for load balancers that the node is about to go, and not for liveness probes', async () => {
      const taints = [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }];
      const path = '/api/v1/nodes/node-a';
      await nodes.plane.must('PATCH', path, { spec: { taints } }, merge);
      try {
        const health = async () => both('http://127.0.0.1:10256/healthz');
        const drained = await eventually(health, (answers) =>
          twins.every((twin) => answers[twin].status === 503),
        );
        expect(fieldsOf(drained.switchyard)).toEqual(fieldsOf(drained.upstream));
        for (const url of ['http://127.0.0.1:10256/livez', 'http://127.0.0.1:31021/']) {
          const { switchyard, upstream } = await both(url);
          expect([switchyard.status, upstream.status]).toEqual([200, 200]);
        }
      } finally {
        await nodes.plane.must('PATCH', path, { spec: { taints: null } }, merge);
      }
    });

    it('begins with an Event on the Node, and says there whose port is taken', async () => {
      await Promise.all(agents.splice(0).map(async (agent) => agent.stop()));
      for (const twin of twins) {
        await nodes.labs[twin].serve('node', {
          proto: 'tcp',
          address: '127.0.0.1',
          port: 10_999,
          name: 'another program',
        });
        agents.push(nodes.startProxy(twin, ['--metrics-bind-address=127.0.0.1:10999']));
      }
      const begun = await eventually(
        async () => nodeEvents(nodes.plane, 'Starting'),
        (events) => new Set(events.map(({ reportingController }) => reportingController)).size > 1,
        60_000,
      );
      const forms = begun.map(({ type, action, regarding: { kind, name } }) =>
        [type, action, kind, name].join(' '),
      );
      expect([...new Set(forms)]).toEqual(['Normal StartKubeProxy Node node-a']);
      const [told] = await eventually(
        async () => nodeEvents(nodes.plane, 'FailedToStartMetricServer'),
        (events) => events.length > 0,
      );
      expect(told).toMatchObject({
        type: 'Warning',
        reportingController: 'switchyard.io/proxy',
        note: expect.stringContaining('EADDRINUSE') as string,
      });
    });

    it('answers load balancers where node ports are answered, and nowhere else', async () => {
      await Promise.all(agents.splice(0).map(async (agent) => agent.stop()));
      const addresses = [`${lab4.node}/32`, `${lab6.node}/128`];
      for (const twin of twins)
        agents.push(nodes.startProxy(twin, [`--nodeport-addresses=${addresses.join(',')}`]));
      for (const twin of twins) {
        const status = async (host: string): Promise<number> =>
          (await nodes.labs[twin].get('node', `http://${host}:31021/`)).status;
        await eventually(
          async () => status(lab4.node),
          (seen) => seen === 200,
          60_000,
        );
        await eventually(
          async () => status(`[${lab6.node}]`),
          (seen) => seen === 200,
        );
        expect([await status('127.0.0.1'), await status('[::1]')]).toEqual([0, 0]);
      }
    });
  },
);

async function nodeEvents(
  plane: Pick<ControlPlane, 'must'>,
  reason: string,
): Promise<readonly WireEvent[]> {
  const path = '/apis/events.k8s.io/v1/namespaces/default/events';
  const { items } = (await plane.must('GET', path)) as { items: readonly WireEvent[] };
  return items.filter((event) => event.reason === reason && event.regarding.kind === 'Node');
}

function namesOf(metrics: ReadonlyMap<string, ExposedMetric>): readonly string[] {
  return [...metrics.keys()].filter((name) => name.startsWith('kubeproxy_'));
}

/** Values by dotted path; lists are values. */
function leavesOf(value: unknown, path = ''): ReadonlyMap<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return new Map([[path, JSON.stringify(value)]]);
  }
  return new Map(
    Object.entries(value).flatMap(([name, each]) => [...leavesOf(each, `${path}.${name}`)]),
  );
}

/** What of an answer clients look at. */
function shown({ status, headers, body }: Answer): object {
  return {
    status,
    type: headers['content-type'],
    sniff: headers['x-content-type-options'],
    body,
  };
}

/** The answer's JSON with the kind of each time in its place. */
function fieldsOf({ body }: Answer): unknown {
  return JSON.parse(body, (_, value: unknown) =>
    typeof value === 'string' ? value.replaceAll(/\d/g, '0').replace(/\.0+Z$/, '.0Z') : value,
  );
}
