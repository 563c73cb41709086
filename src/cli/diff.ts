import { detectVariant } from '../backends/iptables/variant.ts';
import { comparedRules } from '../backends/iptables/compared-rules.ts';
import { systemClock } from '../clock.ts';
import { fieldOf } from '../config/flag-table.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { adminSocketFlag, proxyFlags } from '../config/proxy-flags.ts';
import { SwitchyardError } from '../error.ts';
import { systemTools } from '../host/run-tool.ts';
import { createSysctls } from '../host/sysctl.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { isConntrackLiberal } from '../proxy/iptables-backends.ts';
import { findAgent } from './agent-client.ts';
import { featuresFlag, givenFeatures } from './assumed-features.ts';
import type { CommandIo, Command } from './command.ts';
import { assumedOf, assumedText } from './diff/assumed.ts';
import { compareByAgent } from './diff/by-agent.ts';
import { desiredByManifests, graphOf } from './diff/by-manifests.ts';
import { differencesOf, editedParts, rulesInFrontOf } from './diff/differences.ts';
import type { EditedPart } from './diff/differences.ts';
import { observedOf, readDump } from './diff/dump-file.ts';
import type { RuleDump } from './diff/dump-file.ts';
import { compareWithKernel, readRules } from './diff/kernel.ts';
import type { Kernel } from './diff/kernel.ts';
import { listText } from './diff/list-text.ts';
import { patchText } from './diff/patch-text.ts';
import { failureText } from './failure-text.ts';
import { loadOffline, namesObjects, offlineFlags } from './offline.ts';
import { readTextFile } from './text-file.ts';

/** As diff(1) ends: a failure is neither. Without --fail a difference is no failure. */
const exits = { done: 0, different: 1, failed: 2 } as const;

/** `switchyard diff`: what is wanted against what is there. */
export const command: Command = {
  name: 'diff',
  summary: 'Compares the rules of this node, or a dump of another, with what they should be.',
  flags: [
    adminSocketFlag,
    {
      name: 'fail',
      type: 'bool',
      default: false,
      help: 'End with status 1 where anything differs.',
    },
    {
      name: 'output',
      short: 'o',
      type: 'enum',
      values: ['list', 'patch', 'json'],
      default: 'list',
      help: 'list, patch (a unified diff from what is there to what is wanted) or json.',
    },
    {
      name: 'ip-family',
      type: 'enum',
      values: ['ipv4', 'ipv6'],
      help: 'One family alone. Default: all that there are.',
    },
    {
      name: 'dump',
      type: 'list',
      whole: true,
      placeholder: 'FILE',
      help: 'Compare with what iptables-save (or ip6tables-save) printed, of this machine or another, instead of the kernel; - for the standard input; may be repeated.',
    },
    ...offlineFlags,
    {
      name: 'mode',
      type: 'enum',
      values: ['iptables', 'ipvs'],
      default: 'iptables',
      help: 'With -f: whose rules.',
    },
    {
      ...featuresFlag,
      help: `With -f: ${featuresFlag.help} Default: as the rules that are there show it.`,
    },
    ...proxyFlags.filter(({ name }) => name === 'ipvs-scheduler'),
  ],
  details: [
    'Without -f, what the agent on this node wants (as root); with -f, what it would want for manifests, with',
    'the settings given here. Rules of others do not count, but for those that leave nothing for ours; counters neither.',
    '',
    'Exit status: 0; 1 with --fail where anything differs; 2 where it could not be found out.',
    '',
    'Examples:',
    '  switchyard diff',
    '  switchyard diff --fail --output=json',
    '  switchyard diff --output=patch --ip-family=ipv4',
    '  switchyard diff -f cluster.yaml --node-name=node-a --cluster-cidr=10.244.0.0/16 --dump=node-a.rules',
  ].join('\n'),
  async run({ flags }, io) {
    try {
      const compared = await compare(flags, io);
      const isDifferent = show(compared, flags, io);
      return isDifferent && flags.bool('fail') ? exits.different : exits.done;
    } catch (error) {
      io.stderr(failureText(error, io.env));
      return exits.failed;
    }
  },
};

/** What one family's comparison gave. */
interface FamilyComparison {
  readonly family: Family;
  readonly parts: readonly EditedPart[];
}

async function compare(flags: FlagValues, io: CommandIo): Promise<readonly FamilyComparison[]> {
  const dumps: RuleDump[] = [];
  for (const path of flags.list('dump')) {
    const text = await readTextFile('dump', path, io);
    dumps.push(readDump(text, `--dump=${path}`, flags.text('ipFamily')));
  }
  if (dumps.length > 0) {
    io.stderr(
      'note: a dump has rules alone: sets, virtual servers and addresses are not compared\n',
    );
  }
  return namesObjects(flags) ? withManifests(flags, dumps, io) : withAgent(flags, dumps, io);
}

async function withAgent(
  flags: FlagValues,
  dumps: readonly RuleDump[],
  io: CommandIo,
): Promise<readonly FamilyComparison[]> {
  refuseIdle(flags);
  const { client, status } = await findAgent(flags, io.env);
  const known = status.families.map(({ family }): Family => (family === 'IPv6' ? 'ipv6' : 'ipv4'));
  const compared: FamilyComparison[] = [];
  for (const family of familiesToCompare(known, dumps, flags)) {
    const rules = dumps.filter((dump) => dump.family === family).map(observedOf);
    const { parts, isSettled } = await compareByAgent(
      client,
      family,
      async (desired) =>
        rules.length > 0
          ? rules.flatMap((observed) => comparedRules(desired.rules, observed))
          : compareWithKernel(desired, kernelOf(io)),
      systemClock,
      io.signal,
    );
    if (!isSettled) {
      io.stderr(
        `warning: ${familyLabel(family)}: the agent has changes to write (switchyard status says why); this may be what it is about to do\n`,
      );
    }
    compared.push({ family, parts });
  }
  return compared;
}

async function withManifests(
  flags: FlagValues,
  dumps: readonly RuleDump[],
  io: CommandIo,
): Promise<readonly FamilyComparison[]> {
  const offline = await loadOffline(flags, [], io);
  for (const problem of offline.problems) io.stderr(`warning: ${problem}\n`);
  const compared: FamilyComparison[] = [];
  const tell = (family: Family, assumption: ReturnType<typeof assumedOf>): void => {
    const assumed = assumedText(assumption, givenFeatures(flags));
    if (assumed !== '') io.stderr(`note: ${familyLabel(family)}: ${assumed}\n`);
  };
  for (const family of familiesToCompare([...offline.families.keys()], dumps, flags)) {
    const graph = graphOf(offline, family);
    const own = dumps.filter((dump) => dump.family === family);
    for (const dump of own) {
      const observed = observedOf(dump);
      tell(family, assumedOf(observed));
      const desired = desiredByManifests(graph, offline, flags, observed, { variant: 'nft' });
      compared.push({ family, parts: editedParts(comparedRules(desired.rules, observed)) });
    }
    if (own.length > 0) continue;
    const kernel = kernelOf(io);
    const { variant } = await detectVariant(kernel.tools, io.signal);
    const conntrackBeLiberal = await isConntrackLiberal(createSysctls());
    const observed = await readRules(family, variant, kernel);
    // a setting of this very machine says it
    tell(family, { ...assumedOf(observed), conntrackBeLiberal: false });
    const node = { variant, conntrackBeLiberal };
    const desired = desiredByManifests(graph, offline, flags, observed, node);
    compared.push({
      family,
      parts: editedParts(await compareWithKernel(desired, kernel, observed)),
    });
  }
  return compared;
}

function kernelOf(io: CommandIo): Kernel {
  return { tools: systemTools, env: io.env, signal: io.signal };
}

/** Those that are known, and of which there is a dump where there are any. */
function familiesToCompare(
  known: readonly Family[],
  dumps: readonly RuleDump[],
  flags: FlagValues,
): readonly Family[] {
  const asked = flags.text('ipFamily');
  const families = known
    .filter((family) => asked === '' || family === asked)
    .filter((family) => dumps.length === 0 || dumps.some((dump) => dump.family === family));
  if (families.length > 0) return families;
  const hint = `known are: ${known.map(familyLabel).join(', ') || 'none'}`;
  throw new SwitchyardError('usage', 'there is no family to compare', { hint });
}

/** Settings of the manifests mean nothing to an agent that has its own. */
function refuseIdle(flags: FlagValues): void {
  const idle = [...offlineFlags.map(fieldOf), 'mode', 'features', 'ipvsScheduler'].filter((field) =>
    flags.given(field),
  );
  if (idle.length === 0) return;
  const names = idle.map((field) => flags.shown(field)).join(', ');
  throw new SwitchyardError(
    'usage',
    `${names}: expected with manifests alone (-f PATH, or --source)`,
    {
      hint: 'the running agent has settings of its own',
    },
  );
}

/** Prints it; whether anything differs. */
function show(compared: readonly FamilyComparison[], flags: FlagValues, io: CommandIo): boolean {
  const lists = compared.map(({ family, parts }) => ({
    family,
    differences: differencesOf(parts),
    inFront: rulesInFrontOf(parts),
  }));
  switch (flags.text('output')) {
    case 'json':
      io.stdout(`${JSON.stringify({ families: lists }, undefined, 2)}\n`);
      break;
    case 'patch':
      for (const { family, parts } of compared) io.stdout(patchText(family, parts));
      break;
    default:
      for (const { family, differences, inFront } of lists)
        io.stdout(listText(familyLabel(family), differences, inFront));
  }
  return lists.some(({ differences }) => differences.length > 0);
}
