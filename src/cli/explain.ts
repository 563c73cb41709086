import { SwitchyardError } from '../error.ts';
import { explainJson, explainText } from '../graph/explain.ts';
import { interpret } from '../graph/interpret.ts';
import { packetFrom } from '../graph/packet.ts';
import type { RuleGraph } from '../graph/rule-graph.ts';
import type { Family } from '../ip/address.ts';
import type { Command, CommandArgs, CommandIo } from './command.ts';
import { familyAsked, journeyOf, parseDestination } from './journey.ts';
import { loadOffline, offlineFlags } from './offline.ts';

/** `switchyard explain`: where a packet goes, and why. */
export const command: Command = {
  name: 'explain',
  summary: 'Tells where a packet goes and why, with exact probabilities.',
  flags: [
    ...offlineFlags,
    {
      name: 'ip-family',
      type: 'enum',
      values: ['ipv4', 'ipv6'],
      help: 'Where neither end is an address. Default: ipv4, or ipv6 for a Service that is in IPv6 alone.',
    },
    {
      name: 'in-interface',
      type: 'string',
      placeholder: 'NAME',
      help: 'The interface the packet arrives on, for --detect-local-mode by interface.',
    },
    {
      name: 'output',
      short: 'o',
      type: 'enum',
      values: ['text', 'json'],
      default: 'text',
      help: 'text or json.',
    },
  ],
  positionals: { usage: 'FROM TO:PORT[/PROTO]', min: 2, max: 2 },
  details: [
    'FROM: an IP address, or one of pod, node, outside.',
    'TO: an IP address, node, or a Service (default/web; then PORT may be a name).',
    '',
    'Examples:',
    '  switchyard explain pod default/web:http -f examples/ --cluster-cidr=10.244.0.0/16',
    '  switchyard explain 203.0.113.7 198.51.100.20:80 -f examples/',
    '  switchyard explain outside node:30080/TCP -f examples/ --node-name=node-a',
  ].join('\n'),
  run,
};

async function run({ flags, positionals }: CommandArgs, io: CommandIo): Promise<number> {
  const [from = '', to = ''] = positionals;
  const destination = parseDestination(to);
  const offline = await loadOffline(flags, [], io.stdin);
  for (const problem of offline.problems) io.stderr(`warning: ${problem}\n`);
  const graphOf = (family: Family): RuleGraph | undefined => offline.families.get(family)?.graph;
  const asked = familyAsked(flags.text('ipFamily'), from, destination, graphOf);
  const part = offline.families.get(asked);
  if (part === undefined) throw new SwitchyardError('internal', `no graph of family ${asked}`);
  const { graph, servicePorts } = part;
  const inInterface = flags.text('inInterface');
  const journey = journeyOf(part, from, destination);
  const packet = packetFrom(graph.node, inInterface === '' ? journey : { ...journey, inInterface });
  const outcomes = interpret(graph, packet);
  const answer = flags.text('output') === 'json' ? explainJson : explainText;
  io.stdout(`${answer({ graph, packet, outcomes, servicePorts }).trimEnd()}\n`);
  return 0;
}
