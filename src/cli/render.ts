import { renderRestore } from '../backends/iptables/render.ts';
import { renderIpvs } from '../backends/ipvs/render.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import { userspaceFlags } from '../config/userspace-flags.ts';
import { SwitchyardError } from '../error.ts';
import { conflictText } from '../graph/claims.ts';
import { toDot } from '../graph/draw-dot.ts';
import { toJson } from '../graph/draw-json.ts';
import { toSvg } from '../graph/draw-svg.ts';
import type { RuleGraph } from '../graph/rule-graph.ts';
import type { Command, CommandArgs, CommandIo } from './command.ts';
import { featuresFlag, featuresOf } from './assumed-features.ts';
import type { AssumedFeatures } from './assumed-features.ts';
import { loadOffline, offlineFlags } from './offline.ts';
import type { Offline } from './offline.ts';
import { ipvsFeaturesOf, ipvsStateOf, iptablesStateOf } from './offline-states.ts';
import { userspaceSettings, userspaceText } from './userspace-text.ts';
import type { UserspaceSettings } from './userspace-text.ts';

/** Flags of userspace mode that the text depends on. */
const rendered: ReadonlySet<string> = new Set([
  'proxy-port-range',
  'udp-timeout',
  'userspace-drain-timeout',
  'userspace-portals',
  'userspace-port-offset',
]);

/** `switchyard render`: what would be applied on a node without rules. */
export const command: Command = {
  name: 'render',
  summary: 'Prints the rules (or the rule graph) for some manifests; needs no root and no cluster.',
  flags: [
    ...offlineFlags,
    {
      name: 'mode',
      type: 'enum',
      values: ['iptables', 'ipvs', 'userspace'],
      default: 'iptables',
      help: 'Whose rules: iptables, ipvs (virtual servers, addresses, sets and rules, a section each), or userspace (listeners with their pools, and the rules that lead there).',
    },
    {
      name: 'ip-family',
      type: 'enum',
      values: ['ipv4', 'ipv6'],
      help: 'One family alone: in mode iptables the output is then a file for iptables-restore --noflush. Default: both.',
    },
    {
      name: 'output',
      short: 'o',
      type: 'enum',
      values: ['rules', 'json', 'dot', 'svg'],
      default: 'rules',
      help: 'rules, or the rule graph as json, dot or svg.',
    },
    featuresFlag,
    ...proxyFlags.filter(({ name }) => name === 'ipvs-scheduler'),
    ...userspaceFlags.filter(({ name }) => rendered.has(name)),
  ],
  positionals: { usage: '[PATH…]', min: 0, max: 1000 },
  details: [
    'Examples:',
    '  switchyard render -f examples/ --node-name=node-a --cluster-cidr=10.244.0.0/16',
    '  kubectl get services,endpointslices,nodes -A -o yaml | switchyard render -f - --node-name=node-a',
    '  switchyard render -f examples/ --ip-family=ipv4 | iptables-restore --noflush',
    '  switchyard render -f examples/ --ip-family=ipv4 --output=svg > graph.svg',
    '  switchyard render -f examples/ --mode=ipvs --ip-family=ipv4',
    '  switchyard render -f examples/ --mode=userspace --userspace-portals=none',
  ].join('\n'),
  run,
};

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const features = featuresOf(args.flags);
  const mode = modeOf(args.flags);
  const userspace = userspaceSettings(args.flags, features);
  const scheduler = args.flags.text('ipvsScheduler') || 'rr';
  const offline = await loadOffline(args.flags, args.positionals, io);
  const settings = { offline, features, scheduler, userspace };
  for (const problem of offline.problems) io.stderr(`warning: ${problem}\n`);
  const graphs = chosenGraphs(offline, args.flags);
  const conflicts = graphs.flatMap((graph) => graph.conflicts.map(conflictText));
  for (const conflict of new Set(conflicts)) io.stderr(`warning: ${conflict}\n`);
  switch (args.flags.text('output')) {
    case 'json':
      io.stdout(
        `${JSON.stringify(
          graphs.map((graph) => JSON.parse(toJson(graph))),
          undefined,
          2,
        )}\n`,
      );
      return 0;
    case 'dot':
      io.stdout(graphs.map(toDot).join('\n'));
      return 0;
    case 'svg':
      io.stdout(await toSvg(oneGraph(graphs)));
      return 0;
    default:
      io.stdout(renderers[mode](graphs, settings));
      return 0;
  }
}

function modeOf(flags: FlagValues): keyof typeof renderers {
  const mode = flags.text('mode');
  return mode === 'ipvs' || mode === 'userspace' ? mode : 'iptables';
}

function chosenGraphs(offline: Offline, flags: FlagValues): readonly RuleGraph[] {
  const family = flags.text('ipFamily');
  return [...offline.families]
    .filter(([name]) => family === '' || name === family)
    .map(([, { graph }]) => graph);
}

/** An SVG holds one graph: the only one that is not empty, or the one that was asked for. */
function oneGraph(graphs: readonly RuleGraph[]): RuleGraph {
  const filled = graphs.filter((graph) => graph.frontends.size > 0);
  const [first] = filled.length > 0 ? filled : graphs;
  if (first !== undefined && filled.length < 2) return first;
  throw new SwitchyardError('usage', 'both families have services, and an SVG holds one graph', {
    hint: 'add --ip-family=ipv4 or --ip-family=ipv6',
  });
}

interface Settings {
  readonly offline: Offline;
  readonly features: AssumedFeatures;
  readonly scheduler: string;
  readonly userspace: UserspaceSettings;
}

type Graphs = readonly RuleGraph[];

const renderers = {
  iptables: (graphs: Graphs, settings: Settings): string =>
    graphs.map((graph) => iptablesText(graph, settings)).join('\n'),
  ipvs: (graphs: Graphs, settings: Settings): string =>
    graphs.map((graph) => ipvsText(graph, settings)).join('\n'),
  userspace: (graphs: Graphs, { userspace }: Settings): string => userspaceText(graphs, userspace),
} as const;

function iptablesText(graph: RuleGraph, { offline, features: given }: Settings): string {
  const { guard: _, ...features } = given;
  const state = iptablesStateOf(graph, offline, { features, conntrackBeLiberal: false });
  return renderRestore(state, { features });
}

function ipvsText(graph: RuleGraph, { offline, features: given, scheduler }: Settings): string {
  const features = ipvsFeaturesOf(given);
  const assumed = { features, conntrackBeLiberal: false };
  return renderIpvs(ipvsStateOf(graph, offline, scheduler, assumed), { features });
}
