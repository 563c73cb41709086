import { fieldOf } from '../config/flag-table.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { adminSocketFlag } from '../config/proxy-flags.ts';
import { SwitchyardError } from '../error.ts';
import { parseDestination } from '../graph/journey.ts';
import { answerQuestion } from '../graph/question.ts';
import type { Question } from '../graph/question.ts';
import type { Command, CommandArgs, CommandIo } from './command.ts';
import { loadOffline, namesObjects, offlineFlags } from './offline.ts';

/** `switchyard explain`: where a packet goes, and why. */
export const command: Command = {
  name: 'explain',
  summary: 'Tells where a packet goes and why, with exact probabilities.',
  flags: [
    ...offlineFlags,
    adminSocketFlag,
    {
      name: 'dump',
      type: 'string',
      placeholder: 'FILE',
      help: 'Go through what iptables-save (or ip6tables-save) printed, of whatever machine and whoever wrote the rules; - for the standard input.',
    },
    {
      name: 'node-address',
      type: 'list',
      placeholder: 'IP',
      help: 'With --dump: an address of the node that the rules are of.',
    },
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
    'With -f, what manifests mean; with --dump, what saved rules do; else, what the agent on this node has (as root).',
    '',
    'Examples:',
    '  switchyard explain pod default/web:http',
    '  switchyard explain 10.244.1.5 default/web:http --dump=node-b.rules',
    '  switchyard explain pod default/web:http -f examples/ --cluster-cidr=10.244.0.0/16',
    '  switchyard explain 203.0.113.7 198.51.100.20:80 -f examples/',
    '  switchyard explain outside node:30080/TCP -f examples/ --node-name=node-a',
  ].join('\n'),
  run,
};

async function run({ flags, positionals }: CommandArgs, io: CommandIo): Promise<number> {
  const [from = '', to = ''] = positionals;
  parseDestination(to);
  const question: Question = {
    from,
    to,
    family: flags.text('ipFamily'),
    inInterface: flags.text('inInterface'),
    output: flags.text('output') === 'json' ? 'json' : 'text',
  };
  if (flags.text('dump') !== '') {
    refuseIdle(flags, 'a dump is of rules that are there');
    const { explainDump } = await import('./explain-dump.ts');
    io.stdout(await explainDump([from, to], flags, io));
    return 0;
  }
  if (!namesObjects(flags)) {
    io.stdout(await askAgent(question, flags, io));
    return 0;
  }
  const offline = await loadOffline(flags, [], io);
  for (const problem of offline.problems) io.stderr(`warning: ${problem}\n`);
  io.stdout(answerQuestion(question, (family) => offline.families.get(family), 'the manifests'));
  return 0;
}

/** What the running agent answers: it has the objects, the settings and the state of the node. */
async function askAgent(question: Question, flags: FlagValues, io: CommandIo): Promise<string> {
  refuseIdle(flags, 'the running agent has settings of its own');
  const { NoAgentError } = await import('./admin-client.ts');
  const { findAgent } = await import('./agent-client.ts');
  const { from, to, family, inInterface, output } = question;
  try {
    const { client } = await findAgent(flags, io.env);
    const query = { from, to, family, 'in-interface': inInterface, output };
    const { answer } = JSON.parse(await client.get('/v1/explain', query)) as { answer: string };
    return answer;
  } catch (error) {
    if (!(error instanceof NoAgentError)) throw error;
    throw new SwitchyardError('usage', `no manifests, and ${error.message}`, {
      cause: error,
      hint: `name manifests by -f PATH; or ${error.hint ?? 'start the agent'}`,
    });
  }
}

/** Settings by which manifests are read mean nothing elsewhere. */
function refuseIdle(flags: FlagValues, hint: string): void {
  const idle = offlineFlags.map(fieldOf).filter((field) => flags.given(field));
  if (idle.length === 0) return;
  const names = idle.map((field) => flags.shown(field)).join(', ');
  throw new SwitchyardError(
    'usage',
    `${names}: expected with manifests alone (-f PATH, or --source)`,
    { hint },
  );
}
