// Both proxies on equal nodes beside one control plane are asked the same questions with real packets:
// what they answer otherwise is listed in docs/differences.md, or a failure.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ControlPlane } from '../cluster/control-plane.ts';
import type { Pod } from '../support/node-lab.ts';
import { compareAnswers } from './compare.ts';
import type { Difference } from './compare.ts';
import { deliberateCases } from './deliberate.ts';
import { Expectation, expectationOf } from './expectation.ts';
import { compareHealth } from './health.ts';
import { knownDifferences, rowOf } from './known-differences.ts';
import { compareMeaning, rulesOf } from './meaning.ts';
import type { Bundle, RawService } from './objects.ts';
import { Places } from './place.ts';
import { questionsOf } from './questions.ts';
import type { LabQuestion } from './questions.ts';
import { randomServices } from './random-services.ts';
import { Report } from './report.ts';
import { ruleBookScenarios } from './rule-book.ts';
import { TwinCluster } from './twin-cluster.ts';

const blocked = ControlPlane.blocked();
const seed = Number(process.env['UPSTREAM_SEED'] ?? 2026);
const count = Number(process.env['UPSTREAM_SERVICES'] ?? 2000);
const variants = (process.env['UPSTREAM_VARIANTS'] ?? 'legacy').split(',') as ('legacy' | 'nft')[];
// Large batches for speed, but two at least: they have different settings.
const batchSize = Math.min(80, Math.ceil(count / 2));
const hours = 3 * 3_600_000;

/** Random services are spread over these settings. */
const settings: readonly (readonly string[])[] = [
  [],
  ['--masquerade-all'],
  ['--detect-local-mode=InterfaceNamePrefix', '--pod-interface-name-prefix=pod-'],
  ['--nodeport-addresses=primary'],
  ['--iptables-localhost-nodeports=false'],
  ['--cluster-cidr='],
];

function progress(text: string): void {
  process.stdout.write(`${text}\n`);
}

interface Work {
  readonly bundle: Bundle;
  readonly flags: readonly string[];
  readonly questions: readonly LabQuestion[];
}

describe.skipIf(blocked !== undefined).each(variants)(
  `beside upstream's proxy (%s)${blocked ? ` (${blocked})` : ''}`,
  (variant) => {
    const places = new Places();
    const book = new Report(`the rule book, ${variant}`);
    const random = new Report(`random services, ${variant}, UPSTREAM_SEED=${seed}`);
    let cluster: TwinCluster;
    /** Addresses beyond the pods' own, by the pod that has them. */
    const lent = new Map<string, Pod>();
    let flagsNow: string | undefined;

    beforeAll(async () => {
      cluster = await TwinCluster.create(variant, places);
    });

    afterAll(async () => {
      process.stdout.write(`${book.text()}${random.text()}`);
      await cluster?.close();
    });

    /** Makes the objects, asks both proxies everything there is to ask, and reads upstream's rules. */
    async function compare(
      bundles: readonly Bundle[],
      flags: readonly string[],
      more: readonly LabQuestion[],
      report: Report,
    ): Promise<void> {
      if (flags.join(' ') !== flagsNow) await cluster.startProxies(flags);
      flagsNow = flags.join(' ');
      await cluster.with(bundles, async (made) => {
        const services = made.flatMap((each) => each.services);
        const expectation = new Expectation(made, flags);
        const alone = (service: RawService): Expectation => expectationOf(service, made, flags);
        const row = (difference: Difference): string | undefined => {
          const graph = expectation.graphs[difference.question.family];
          return rowOf(difference, { services, graph, alone });
        };
        // A pod that asks one of its addresses from another one answers itself, past the node.
        const isAskable = (question: LabQuestion): boolean =>
          !expectation.endpoints(question).some((address) => lent.get(address) === question.actor);
        const all = [...made.flatMap(questionsOf), ...more];
        const questions = all.filter(isAskable);
        report.past(all.length - questions.length);
        report.services(services.length);
        const rules = await rulesOf(cluster.twins.labs.upstream);
        report.meaning(questions.length, compareMeaning(rules, expectation, questions), row);
        const isKnown = (difference: Difference): boolean => row(difference) !== undefined;
        report.answers(await compareAnswers(cluster, expectation, questions, isKnown), row);
        report.health(await compareHealth(cluster, made));
      });
    }

    it(
      'every scenario of the rule book is answered as upstream does, or the difference is listed',
      { timeout: hours },
      async () => {
        const scenarios = ruleBookScenarios(places, (pod, address) => lent.set(address, pod));
        for (const [address, pod] of lent) {
          await Promise.all(cluster.labs().map(async ([, lab]) => lab.lend(pod, address)));
        }
        for (const { bundle, notAsked } of scenarios) {
          for (const what of notAsked) book.notAsked(`${bundle.name}: ${what}`);
        }
        const work: readonly Work[] = [
          ...scenarios.map((scenario) => ({ ...scenario, questions: [] })),
          ...deliberateCases(places),
        ];
        const groups = Map.groupBy(work, ({ flags }) => flags.join(' '));
        for (const group of groups.values()) {
          const bundles = group.map(({ bundle }) => bundle);
          const more = group.flatMap(({ questions }) => questions);
          await compare(bundles, group[0]?.flags ?? [], more, book);
        }
        const bundles = work.map(({ bundle }) => bundle.name);
        expect(bundles.filter((name) => !book.asked(name))).toEqual([]);
        expect(book.unlisted, book.text()).toHaveLength(0);
      },
    );

    it(
      `${count} random services are answered as upstream does, or the difference is listed`,
      { timeout: hours },
      async () => {
        const all = randomServices(seed, count, places);
        const batches = Math.ceil(all.length / batchSize);
        for (let n = 0; n < batches; n++) {
          const flags = settings[Math.floor((n * settings.length) / batches)] ?? [];
          await compare(all.slice(n * batchSize, (n + 1) * batchSize), flags, [], random);
          if (n % 5 === 4) progress(`${(n + 1) * batchSize} of ${count} services compared`);
        }
        expect(random.questions).toBeGreaterThan(count * 10);
        expect(random.unlisted, random.text()).toHaveLength(0);
      },
    );

    it('every difference that is listed and can be seen was seen', () => {
      const visible = knownDifferences.filter(({ shows }) => typeof shows !== 'string');
      const seen = new Set([...book.seenRows, ...random.seenRows]);
      expect(visible.map(({ row }) => row).filter((row) => !seen.has(row))).toEqual([]);
    });
  },
);
