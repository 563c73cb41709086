import { eventually } from './node-lab.ts';
import type { NodeLab } from './node-lab.ts';

/**
 * All rules and sets of the lab's node as text that is equal where they are: without counters, dates and the
 * generation, chains sorted, the rules of each in their order.
 */
export async function nodeRules(lab: NodeLab): Promise<string> {
  const dump = await lab.onNode('sh', '-c', 'iptables-save; ip6tables-save');
  const sets = await lab.onNode('ipset', 'save');
  const lines = dump.split('\n').filter((line) => !line.startsWith('#'));
  const texts = lines.map((line) =>
    line.replace(/ \[\d+:\d+\]$/, '').replace(/(switchyard generation) \S+ \d+/, '$1'),
  );
  let table = '';
  let nr = 0;
  const keyed = texts.map((line) => {
    if (line.startsWith('*')) table = `${nr++} ${line}`;
    const chain = /^(?::|-A )(\S+)/.exec(line)?.[1] ?? '';
    return { key: `${table} ${chain}`, line };
  });
  const sorted = keyed.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const headers = sets
    .split('\n')
    .filter((line) => line.startsWith('create'))
    .map((line) => line.replace(/ (?:bucketsize|initval) \S+/g, ''));
  return [...sorted.map(({ line }) => line), ...headers.toSorted()].join('\n');
}

/** The rules once they have been the same for about a second: what an agent had to do is done. */
export async function restingRules(lab: NodeLab): Promise<string> {
  let rules = '';
  let timesSame = 0;
  await eventually(
    async () => {
      const now = await nodeRules(lab);
      timesSame = now === rules ? timesSame + 1 : 0;
      rules = now;
      return timesSame;
    },
    (times) => times >= 8,
    40_000,
  );
  return rules;
}
