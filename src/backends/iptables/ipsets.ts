import { join } from 'node:path';
import type { Family } from '../../ip/address.ts';
import { SwitchyardError } from '../../error.ts';
import type { ToolOptions, ToolResult, ToolRunner } from '../../host/run-tool.ts';
import { readSetting } from '../../host/sysctl.ts';
import type { Log } from '../../telemetry/log.ts';
import { membersOf } from './diff-sets.ts';
import type { SetChanges } from './diff-sets.ts';
import { isIpvsModeSet } from './ipvs-names.ts';
import type { IpsetSpec, SetName } from './state.ts';

const timeoutMs = 120_000;

/** An ipset in the kernel, without its members. */
export interface ObservedSet {
  readonly name: SetName;
  readonly family: Family;
  /** Type, then option and value pairs, as the kernel reports them. */
  readonly type: string;
  readonly header: string;
  /** How many members it has; undefined where ipset does not say. */
  readonly entries: number | undefined;
}

/** The sets in the kernel. Where ipset is not installed, that is an error (`missing`): there may be some all the same. */
export async function listSets(
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<readonly ObservedSet[]> {
  const { exitCode, stdout, stderr } = await tools.run('ipset', ['list', '-terse'], {
    timeoutMs,
    signal,
  });
  if (exitCode === 0) return wholeList(stdout);
  throw new SwitchyardError('tool', `ipset list failed: ${stderr.trim()}`, { retryable: true });
}

/** All sets with their members, as lines `create NAME TYPE …` and `add NAME MEMBER`. */
export async function saveSets(tools: ToolRunner, signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr } = await tools.run('ipset', ['save'], { timeoutMs, signal });
  if (exitCode !== 0) {
    throw new SwitchyardError('tool', `ipset save failed: ${stderr.trim()}`, { retryable: true });
  }
  if (stdout !== '' && !stdout.endsWith('\n')) {
    throw new SwitchyardError('tool', 'ipset save: its output breaks off', { retryable: true });
  }
  return stdout;
}

/** Modules of the types that sets of ours have. */
const typeModules = [
  'hash_ip',
  'hash_ipport',
  'hash_ipportip',
  'hash_ipportnet',
  'bitmap_port',
].map((type) => `ip_set_${type}`);

/**
 * Whether the kernel may have sets of ours, as far as it can be told without ipset. Each set holds the module of its type,
 * in whatever network namespace it is; where the types are built in nothing can be told, and the answer is yes.
 */
export async function mayHaveSets(modulesPath = '/sys/module'): Promise<boolean> {
  const read = async (path: string): Promise<string | undefined> =>
    readSetting(join(modulesPath, path));
  if ((await read('ip_set/parameters/max_sets')) === undefined) return false;
  if ((await read('ip_set/initstate')) === undefined) return true; // built in
  const holds = await Promise.all(typeModules.map(async (module) => read(`${module}/refcnt`)));
  return holds.some((count) => Number(count ?? 0) > 0);
}

/**
 * A set of which only the name is there would pass for one of another type, and be destroyed. The number of entries ends
 * what is told of a set; tools before 6.30 tell it of none.
 */
function wholeList(text: string): readonly ObservedSet[] {
  const sets = parseSetList(text);
  const counted = sets.filter(({ entries }) => entries !== undefined).length;
  const isWhole =
    /(?:^|\n)$/.test(text) &&
    sets.every(({ type, header }) => type && header) &&
    (counted === 0 || counted === sets.length);
  if (isWhole) return sets;
  throw new SwitchyardError('tool', 'ipset list: its output breaks off', { retryable: true });
}

/** Reads the output of `ipset list -terse`. */
export function parseSetList(text: string): readonly ObservedSet[] {
  return text.split(/\n(?=Name: )/).flatMap((block) => {
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]?.trim();
    const name = field('Name');
    const header = field('Header') ?? '';
    if (name === undefined) return [];
    const family: Family = /\bfamily inet6\b/.test(header) ? 'ipv6' : 'ipv4';
    const count = field('Number of entries');
    const entries = count === undefined ? undefined : Number(count);
    return [{ name: name as SetName, family, type: field('Type') ?? '', header, entries }];
  });
}

/** Whether a set in the kernel has all the parameters asked for. How large its table is does not count: the kernel lets it grow. */
export function sameParameters(observed: ObservedSet, spec: IpsetSpec): boolean {
  const [type, ...options] = spec.create.replace(/ hashsize \d+/, '').split(/\s+/);
  if (type !== observed.type) return false;
  const there = ` ${observed.header} `;
  const pairs = options.flatMap((key, i) =>
    i % 2 === 0 ? [`${key} ${options[i + 1] ?? ''}`.trim()] : [],
  );
  return pairs.every((pair) => there.includes(` ${pair} `));
}

/**
 * Creates, replaces and fills sets, before the rules that use them. A set that exists with the same parameters
 * is kept with its members, so that affinity outlives a restart. One of another type is somebody else's: it goes, or
 * where rules use it, it stays, and the rules that should have had ours do without: a client may meet another pod. Gives
 * those.
 */
export async function prepareSets(
  tools: ToolRunner,
  changes: SetChanges,
  observed: readonly ObservedSet[],
  log: Log,
  signal: AbortSignal,
): Promise<ReadonlySet<SetName>> {
  const foreign = changes.create.filter((spec) => isForeign(spec, observed));
  const names = foreign.map(({ name }) => name);
  const left = new Set(await destroySets(tools, names, log, signal));
  if (left.size > 0) {
    const hint =
      'destroy the sets, if need be after a flush of nat: the rules come back by themselves';
    const what =
      'sets of our names are of another type and in use; services do without what these are for';
    log.error(
      { sets: [...left], hint },
      `${what}: affinity, pods that reach themselves, or all that is new`,
    );
  }
  const create = changes.create.filter(({ name }) => !left.has(name));
  const kept = observed.filter(({ name }) => !names.includes(name));
  const script = prepareScript({ ...changes, create }, kept);
  const first = new Set(changes.first?.map(({ set }) => set));
  await runScript(tools, script, first, signal);
  return left;
}

const noLines: ReadonlySet<string> = new Set();

/** So many refused lines are gone past: each costs a run. */
const mostRefusedLines = 32;

/**
 * The tool ends at a line that is refused, and may not have done the members right before it: it sends them together
 * (ipset 7.17). Those and what comes after are run again; but for a frontend that was to be in a set of `first` before anything
 * else, nothing else is put in. Rejects with the first refusal, at the end.
 */
async function runScript(
  tools: ToolRunner,
  script: string,
  first: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  const options = { timeoutMs, signal };
  let failure: SwitchyardError | undefined;
  const undone: string[] = [];
  let rest = script;
  for (let refusals = 0; rest !== '' && refusals < mostRefusedLines; refusals++) {
    const { exitCode, stderr } = await runRest(tools, { ...options, input: rest }, undone);
    if (exitCode === 0) {
      rest = '';
      break;
    }
    const line = failedLine(stderr);
    const lines = rest.split('\n');
    const refused = line === undefined ? undefined : lines[line - 1];
    const what = refused === undefined ? '' : ` at "${refused}"`;
    failure ??= new SwitchyardError('tool', `ipset restore failed${what}: ${stderr.trim()}`, {
      retryable: true,
      hint: 'services whose sets cannot be made are left out until they can',
    });
    if (line === undefined) break;
    const after = withoutLine(lines, line);
    const depends = first.has(setOf(refused)) ? membersWith(refused, after) : noLines;
    undone.push(refused ?? '', ...depends);
    rest = after.filter((each) => !depends.has(each)).join('\n');
  }
  if (failure !== undefined) throw new SetsError(failure, [...undone, ...rest.split('\n')]);
}

/** Runs what is left of a script; where the tool itself fails, nothing of it may be done. */
async function runRest(
  tools: ToolRunner,
  options: ToolOptions & { readonly input: string },
  undone: readonly string[],
): Promise<ToolResult> {
  try {
    return await tools.run('ipset', ['restore'], options);
  } catch (error) {
    options.signal.throwIfAborted();
    if (!(error instanceof SwitchyardError)) throw error;
    throw new SetsError(error, [...undone, ...options.input.split('\n')]);
  }
}

/** Sets are not as they were asked to be. */
export class SetsError extends SwitchyardError {
  /** Those that are not in, of whatever set; undefined: it is not only members that are missing. */
  readonly members: readonly string[] | undefined;

  constructor(cause: SwitchyardError, undone: readonly string[]) {
    const { code, message, retryable, hint } = cause;
    super(code, message, { cause, retryable, ...(hint !== undefined && { hint }) });
    const lines = undone.filter((line) => line !== '' && !line.startsWith('del '));
    const isOfMembers = lines.every((line) => line.startsWith('add '));
    this.members = isOfMembers ? lines.map((line) => line.split(' ').at(-1) ?? '') : undefined;
  }
}

/** What is still to be done where a line, counted from 1, was refused. */
function withoutLine(lines: readonly string[], refused: number): readonly string[] {
  let first = refused - 1;
  while (/^(?:add|del) /.test(lines[first - 1] ?? '')) first--;
  return [...lines.slice(first, refused - 1), ...lines.slice(refused)];
}

/** The lines that put in a member for the frontend of a refused line; what is made anew and exchanged is made whole. */
function membersWith(refused: string | undefined, lines: readonly string[]): ReadonlySet<string> {
  const frontend = frontendOf(refused);
  const adds = lines.filter((line) => !/^$|-T$/.test(setOf(line)));
  return new Set(adds.filter((line) => frontendOf(line) === frontend));
}

function setOf(line: string | undefined): string {
  return /^add (?:-exist )?(\S+)/.exec(line ?? '')?.[1] ?? '';
}

/** The address, protocol and port that the last word of a line begins with. */
function frontendOf(line: string | undefined): string {
  return (line?.split(' ').at(-1) ?? '').split(',', 2).join(',');
}

/** Sets of another type or family cannot be exchanged for one of ours. */
function isForeign({ name, create }: IpsetSpec, observed: readonly ObservedSet[]): boolean {
  const there = observed.find((set) => set.name === name);
  if (there === undefined) return false;
  const family = /\bfamily inet6\b/.test(create) ? 'ipv6' : 'ipv4';
  return !create.startsWith(`${there.type} `) || there.family !== family;
}

/** The input of `ipset restore` for everything but the destroying. */
export function prepareScript(changes: SetChanges, observed: readonly ObservedSet[]): string {
  const there = new Map(observed.map((set) => [set.name, set]));
  const lines: string[] = [];
  const make = (spec: IpsetSpec): void => {
    const old = there.get(spec.name);
    // A set that exists may hold members nobody wants any more: those that we fill are made anew.
    const isFit = old === undefined || (sameParameters(old, spec) && spec.members === undefined);
    if (isFit) addSet(lines, spec.name, spec);
    else swapIn(lines, spec, there);
  };
  const { first = [] } = changes;
  const early = new Set(first.map(({ set }) => set));
  for (const spec of changes.create) if (early.has(spec.name)) make(spec);
  for (const { set, member } of first) lines.push(`add -exist ${set} ${member}`);
  for (const spec of changes.create) if (!early.has(spec.name)) make(spec);
  for (const spec of changes.replace) swapIn(lines, spec, there);
  for (const { set, member } of changes.add) lines.push(`add -exist ${set} ${member}`);
  for (const { set, member } of changes.remove) lines.push(`del -exist ${set} ${member}`);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Destroys sets that no rule uses any more. Gives those that could not be destroyed; never rejects but for an aborted signal. */
export async function destroySets(
  tools: ToolRunner,
  names: readonly SetName[],
  log: Log,
  signal: AbortSignal,
): Promise<readonly SetName[]> {
  const left: SetName[] = [];
  let rest = names;
  while (rest.length > 0) {
    const input = `${rest.map((name) => `destroy ${name}`).join('\n')}\n`;
    try {
      const { exitCode, stderr } = await tools.run('ipset', ['restore'], {
        input,
        timeoutMs,
        signal,
      });
      const line = exitCode === 0 ? undefined : (failedLine(stderr) ?? 1);
      const name = line === undefined ? undefined : rest[line - 1];
      if (line === undefined || name === undefined) break;
      rest = rest.slice(line);
      if (/does not exist/.test(stderr)) continue;
      left.push(name);
      log.warn(
        { set: name, words: stderr.trim() },
        'an ipset could not be destroyed; tried again later',
      );
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: error }, 'ipsets could not be destroyed; tried again later');
      return [...left, ...rest];
    }
  }
  return left;
}

/** The kernel cannot change a set that rules use; it can exchange its content with that of another. */
function swapIn(lines: string[], spec: IpsetSpec, there: { has(name: SetName): boolean }): void {
  const temporary = `${spec.name.slice(0, 29)}-T` as SetName;
  // of an agent that was killed before the exchange: nothing of it may get into ours
  if (there.has(temporary)) lines.push(`destroy ${temporary}`);
  addSet(lines, temporary, spec);
  lines.push(`swap ${temporary} ${spec.name}`, `destroy ${temporary}`);
}

function addSet(lines: string[], name: string, spec: IpsetSpec): void {
  lines.push(`create -exist ${name} ${spec.create}`);
  for (const member of membersOf(spec)) lines.push(`add -exist ${name} ${member}`);
}

function failedLine(stderr: string): number | undefined {
  const match = /Error in line (\d+)/.exec(stderr);
  return match === null ? undefined : Number(match[1]);
}

/** Sets of ours by name, those for an exchange included, and the type each has. */
const ourSets: readonly (readonly [name: RegExp, type: string])[] = [
  [/^KUBE-AFF-[A-Z2-7]{16}(-T)?$/, 'hash:ip'],
  [/^KUBE-(6-)?HAIRPIN(-T)?$/, 'hash:ip,port,ip'],
  [/^KUBE-SWITCHYARD-PROBE-[46]$/, 'hash:ip'],
  [/^KUBE-(6-)?USERSPACE-PORTS(-T)?$/, 'hash:ip,port'],
];

/** Whether a set was made by Switchyard, of whatever run and mode; one of another type is somebody else's. */
export function isOurSet(set: ObservedSet): boolean {
  if (isIpvsModeSet(set.name)) return /^(?:hash:ip|bitmap:port)/.test(set.type);
  return ourSets.some(([name, type]) => name.test(set.name) && type === set.type);
}
