// Upstream's kube-proxy and ours, both in ipvs mode on equal nodes of the guest beside one control plane, are asked the
// same questions with real packets: what they answer otherwise is listed in docs/differences.md, or a failure.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, lab4 } from '../support/node-lab.ts';
import { createTwinNode } from '../cluster/twin-nodes.ts';
import { upstreamCommand } from '../cluster/upstream-proxy.ts';
import { compareAnswers } from '../upstream/compare.ts';
import type { Difference } from '../upstream/compare.ts';
import { deliberateCases } from '../upstream/deliberate.ts';
import { compareHealth } from '../upstream/health.ts';
import { rowOf } from '../upstream/known-differences.ts';
import { Places } from '../upstream/place.ts';
import { questionsOf } from '../upstream/questions.ts';
import { randomServices } from '../upstream/random-services.ts';
import { Report } from '../upstream/report.ts';
import { ruleBookScenarios } from '../upstream/rule-book.ts';
import { TwinCluster, endpointName } from '../upstream/twin-cluster.ts';
import { sliceOf } from '../upstream/objects.ts';
import type { RawService } from '../upstream/objects.ts';
import {
  compareServers,
  isContested,
  isLocalWithoutEndpoints,
  savedServers,
} from './compare-servers.ts';
import type { ServerDifference } from './compare-servers.ts';
import { GuestTwins } from './guest-twins.ts';
import { IpvsExpectation, ipvsExpectationOf } from './ipvs-expectation.ts';
import { knownIpvsDifferences, seenSometimes } from './known-ipvs-differences.ts';
import { upstreamHasSynced } from './upstream-syncs.ts';

const kubeconfig = process.env['SWITCHYARD_VM_KUBECONFIG'];
const why = kubeconfig === undefined ? ' (needs the guest of npm run test:vm, and Go)' : '';

/** Scenarios of the rule book with the usual flags that show something of this mode, by their numbers. */
const usual = '02 03 04 05 06 07 08 09 11 12 13 14 15 16 17 18 22 29 30 32 37 43 44 46 47 53 54 56';
const chosen = (process.env['SWITCHYARD_VM_SCENARIOS'] ?? usual).split(' ');
/** Cases that show a difference of the iptables mode, of which enough are asked here. */
const deliberate = new Set(['opened', 'contested-0', 'strangers']);
const [seed, count] = [2026, 24];
/** Ten times as long in the guest; a proxy that has ended is noticed at once. */
const programmedWithinMs = 15_000;
const began = Date.now();

function say(text: string): void {
  process.stdout.write(`[${Math.round((Date.now() - began) / 1000)} s] ${text}\n`);
}

describe.skipIf(kubeconfig === undefined)(`beside upstream's ipvs mode${why}`, () => {
  const places = new Places();
  const report = new Report('the rule book, ipvs');
  let twins: GuestTwins;
  let cluster: TwinCluster;

  beforeAll(async () => {
    twins = await GuestTwins.create(kubeconfig ?? '', endpointName);
    await createTwinNode(twins.plane);
    cluster = await TwinCluster.on(twins, places, programmedWithinMs);
    say('both nodes stand');
  });

  afterAll(async () => {
    await cluster?.close();
  });

  /** Virtual servers in which the nodes differ, but where a Local policy has no endpoint here, or several want a place. */
  async function unlistedServers(
    { graphs }: IpvsExpectation,
    services: readonly RawService[],
  ): Promise<readonly ServerDifference[]> {
    const [ours, theirs] = await Promise.all(
      cluster.labs().map(async ([, lab]) => savedServers(lab)),
    );
    if (ours === undefined || theirs === undefined) throw new Error('a node is missing');
    expect(ours.size).toBeGreaterThan(count);
    const isListed = (difference: ServerDifference): boolean =>
      isContested(difference, services) ||
      Object.values(graphs).some((graph) => isLocalWithoutEndpoints(difference, graph));
    return compareServers(ours, theirs).filter((difference) => !isListed(difference));
  }

  it('what the rule book describes is answered as upstream does, or the difference is listed', async () => {
    const lent = new Map<string, string>();
    let servers: readonly ServerDifference[] = [];
    const scenarios = ruleBookScenarios(places, (pod, address) => lent.set(address, pod));
    const work = [
      ...scenarios.filter(({ bundle }) => chosen.some((n) => bundle.name.includes(` ${n}-`))),
      ...deliberateCases(places).filter(({ bundle }) => deliberate.has(bundle.name)),
    ];
    const [flags = []] = work.map((each) => each.flags);
    expect(work.filter((each) => each.flags.join() !== flags.join())).toEqual([]);
    await cluster.startProxies(flags);
    say('proxies are started');
    await cluster.with(
      work.map(({ bundle }) => bundle),
      async (made) => {
        say('the rule book is programmed');
        await upstreamHasSynced(cluster);
        say('kube-proxy has synced twice since');
        const services = made.flatMap((each) => each.services);
        const expectation = new IpvsExpectation(made, flags);
        const alone = (service: RawService) => ipvsExpectationOf(service, made, flags);
        const row = (difference: Difference): string | undefined => {
          const graph = expectation.graphs[difference.question.family];
          return rowOf(difference, { services, graph, alone }, knownIpvsDifferences);
        };
        const questions = made
          .flatMap(questionsOf)
          .filter((question) => !expectation.endpoints(question).some((each) => lent.has(each)));
        report.services(services.length);
        const isKnown = (difference: Difference): boolean => row(difference) !== undefined;
        report.answers(await compareAnswers(cluster, expectation, questions, isKnown), row);
        say(`${questions.length} questions are answered`);
        report.health(await compareHealth(cluster, made));
        process.stdout.write(report.text());
        if (report.unlisted.length > 0) process.stdout.write(cluster.logs()[0]?.slice(-6000) ?? '');
        servers = await unlistedServers(expectation, services);
      },
    );
    expect(work.map(({ bundle }) => bundle.name).filter((name) => !report.asked(name))).toEqual([]);
    expect(report.unlisted).toEqual([]);
    expect(servers).toEqual([]);
  });

  it(`${count} random services have the same virtual servers, or the difference is listed`, async () => {
    const flags = ['--cluster-cidr=10.244.0.0/16,fd00:10:244::/56'];
    await cluster.with(randomServices(seed, count, places), async (made) => {
      const services = made.flatMap((each) => each.services);
      expect(services.length).toBeGreaterThanOrEqual(count);
      // Until then kube-proxy still has what the rule book had.
      await upstreamHasSynced(cluster);
      expect(await unlistedServers(new IpvsExpectation(made, flags), services)).toEqual([]);
    });
  });

  it('kube-proxy serves on a node that switchyard cleanup has left, and finds nothing of ours there', async () => {
    await cluster.stopProxies();
    const lab = twins.labs.switchyard;
    expect(await lab.command('cleanup', '--state-file=')).toMatchObject({ status: 0, stderr: '' });
    const [sets, rules, servers, links] = await Promise.all([
      lab.onNode('ipset', 'list', '-name'),
      lab.onNode('iptables-save'),
      lab.onNode('ipvsadm', '--save', '-n'),
      lab.onNode('ip', '-br', 'link'),
    ]);
    expect(`${sets}${rules}${servers}${links}`).not.toMatch(/KUBE-|kube-ipvs|-A -[tu] /);
    const proxy = twins.startProxy('switchyard', [], upstreamCommand('ipvs'));
    const name = 'after-cleanup';
    const to = places.clusterIP('ipv4');
    const made = await Promise.all([
      twins.plane.must('POST', '/api/v1/namespaces/default/services', {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name },
        spec: { clusterIP: to, ports: [{ name: 'http', protocol: 'TCP', port: 80 }] },
      }),
      twins.plane.must('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        ...sliceOf(name, 0, {
          addressType: 'IPv4',
          ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
          endpoints: [
            { addresses: [lab4['pod-b']], nodeName: 'node-a', conditions: { ready: true } },
          ],
        }),
      }),
    ]);
    expect(made).toHaveLength(2);
    try {
      for (const actor of ['client', 'node', 'pod-a'] as const) {
        const answer = await eventually(
          async () => lab.probe(actor, { to, port: 80, timeoutMs: 400 }),
          (seen) => typeof seen !== 'string',
          programmedWithinMs,
        );
        expect(answer).toMatchObject({ answeredBy: `${lab4['pod-b']}:8080` });
      }
    } catch (error) {
      throw new Error(`kube-proxy said: ${proxy.log.slice(-4000)}`, { cause: error });
    } finally {
      await proxy.stop();
    }
  });

  it('every difference that is listed was seen', () => {
    const seen = new Set(report.seenRows);
    const visible = knownIpvsDifferences.filter(({ shows }) => typeof shows !== 'string');
    const missing = visible
      .map(({ row }) => row)
      .filter((row) => !seen.has(row) && !seenSometimes.has(row));
    expect(missing).toEqual([]);
  });
});
