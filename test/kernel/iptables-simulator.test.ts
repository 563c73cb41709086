import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lowerAll } from '../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../src/backends/iptables/state.ts';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import { compileAll } from '../../src/graph/compile.ts';
import type { Family } from '../../src/ip/address.ts';
import { parseTables } from '../../src/walk/parse.ts';
import { walk } from '../../src/walk/traverse.ts';
import type { ParsedTables } from '../../src/walk/parse.ts';
import { labAttempts, labNodes, labServicePorts, plan } from '../support/lab-arbitraries.ts';
import type { LabAttempt } from '../support/lab-arbitraries.ts';
import { NodeLab } from '../support/node-lab.ts';
import { byKey } from '../support/service-ports.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
/** Rule sets a family and FORWARD policy; the same at every run. */
const ruleSets = 2;
const attemptsEach = 40;

describe.skipIf(!able).each(['legacy', 'nft'] as const)(
  'the simulator and the kernel, %s tools (needs root: it makes network namespaces)',
  (variant) => {
    let lab: NodeLab;

    beforeAll(async () => {
      lab = await NodeLab.create(variant);
      await lab.onNode('sysctl', '-q', '-w', 'net.ipv4.conf.all.route_localnet=1');
    });
    afterAll(async () => {
      await lab.close();
    });

    test.each<[Family, 'ACCEPT' | 'DROP']>([
      ['ipv4', 'ACCEPT'],
      ['ipv4', 'DROP'],
      ['ipv6', 'ACCEPT'],
      ['ipv6', 'DROP'],
    ])('agree about random services: %s, FORWARD policy %s', async (family, policy) => {
      const cases = fc.tuple(labNodes(family), labServicePorts(family)).chain(([node, list]) =>
        fc.record({
          rules: fc.constant(
            renderRestore(
              lowerAll(compileAll(byKey(list), node), {
                features: defaultFeatures,
                masqueradeMark: 0x4000,
                localhostNodePorts: true,
                conntrackBeLiberal: false,
              }),
            ),
          ),
          attempts: fc.array(labAttempts(family, node, list), {
            minLength: attemptsEach,
            maxLength: attemptsEach,
          }),
        }),
      );
      const seed = policy === 'DROP' ? 1 : 2;
      for (const { rules, attempts } of fc.sample(fc.noBias(cases), { seed, numRuns: ruleSets })) {
        const whole = `${rules}*filter\n:FORWARD ${policy} [0:0]\nCOMMIT\n`;
        await load(lab, family, whole);
        const tables = parseTables(whole);
        const found = await Promise.all(
          attempts.map(async (attempt) => {
            const wanted = outcomes(tables, family, attempt);
            return { attempt, wanted, seen: await outcomesSeen(lab, attempt, wanted) };
          }),
        );
        for (const { attempt, wanted, seen } of found) {
          expect({ attempt, seen }, rules).toEqual({ attempt, seen: wanted });
        }
      }
    });
  },
);

/** Makes these rules the only ones, for connections that know nothing of earlier ones. */
async function load(lab: NodeLab, family: Family, rules: string): Promise<void> {
  const tool = family === 'ipv4' ? 'iptables' : 'ip6tables';
  for (const table of ['mangle', 'nat', 'filter']) {
    await lab.onNode(tool, '-w', '-t', table, '-F');
    await lab.onNode(tool, '-w', '-t', table, '-X');
  }
  const file = join(lab.manifests, 'rules');
  await writeFile(file, rules);
  await lab.onNode(`${tool}-restore`, '--noflush', file);
  await lab.onNode('conntrack', '-F');
}

/** The ways an attempt may end, by the simulator; each as {@link told} puts it. */
function outcomes(tables: ParsedTables, family: Family, attempt: LabAttempt): readonly string[] {
  const { localAddresses, ownerOf } = plan(family);
  const ended = walk(
    tables,
    { localAddresses, sets: new Map() },
    { ...attempt, sourcePort: 10_000, outInterface: 'any', state: 'NEW' },
  );
  const texts = ended.map(({ kind, destination, masqueraded }) => {
    if (kind === 'reject') return 'refused';
    if (kind === 'drop') return 'timeout';
    // Nobody listens on the node itself; addresses that nobody has lead nowhere.
    if (localAddresses.includes(destination) || destination.startsWith('127.')) return 'refused';
    const owner = ownerOf(destination);
    return owner === undefined ? 'timeout' : `${owner}, ${masqueraded ? 'replaced' : 'kept'}`;
  });
  return [...new Set(texts)].toSorted();
}

/** Asks until all ways have been seen, or one that should not be. */
async function outcomesSeen(
  lab: NodeLab,
  { actor, source, destination, destinationPort, protocol }: LabAttempt,
  wanted: readonly string[],
): Promise<readonly string[]> {
  // Over IPv6 a connect to a machine's own namespaces may be refused at its first retransmission only: 1 s.
  const timeoutMs = wanted.includes('timeout') ? 300 : 2500;
  const to = { to: destination, port: destinationPort, proto: protocol };
  const question: Question = { ...to, from: source, timeoutMs };
  const seen = new Set<string>();
  const isDone = (): boolean =>
    seen.size >= wanted.length || [...seen].some((text) => !wanted.includes(text));
  for (let round = 0; round < 25 && !isDone(); round++) {
    // Most often a timeout is one way of several: it must not be waited for each time.
    const together = Array.from({ length: wanted.length === 1 ? 1 : 8 }, async () =>
      lab.probe(actor, question),
    );
    for (const answer of await Promise.all(together)) seen.add(told(answer, source));
  }
  return [...seen].toSorted();
}

function told(answer: Answer, source: string): string {
  if (typeof answer === 'string') return answer;
  return `${answer.answeredBy}, ${answer.sourceSeen === source ? 'kept' : 'replaced'}`;
}
