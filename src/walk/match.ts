import type { Address } from '../ip/address.ts';
import { cidrContains, parseCidr } from '../ip/cidr.ts';
import { takes } from './bpf.ts';
import { named } from './named.ts';
import type { Option, ParsedRule } from './parse.ts';
import { unknownInterface } from './packet.ts';
import type { WalkedNode, World } from './packet.ts';

/** Where in the kernel's path the rule is asked. */
export interface Place {
  readonly node: WalkedNode;
  readonly inInterface: string | undefined;
  readonly outInterface: string | undefined;
}

/** How a rule takes a packet: with this chance where all that is asked holds. */
export interface Match {
  /** 0: it does not. */
  readonly chance: number;
  /** What nobody here can answer, in the rule's words; '' where nothing is left open. */
  readonly unknown: string;
}

/** undefined: that cannot be told. */
type Answer = boolean | undefined;
type Test = (values: readonly string[], world: World, place: Place) => Answer;

const always: Test = () => true;
const never: Test = () => false;

const tests: ReadonlyMap<string, Test> = named<Test>({
  '-s': ([v = ''], { packet }) => inPrefix(v, packet.source),
  '-d': ([v = ''], { packet }) => inPrefix(v, packet.destination),
  '-i': ([v = ''], _, { inInterface }) => isDevice(v, inInterface),
  '-o': ([v = ''], _, { outInterface }) => isDevice(v, outInterface),
  '-p': ([v = ''], { packet }) =>
    v === 'all' || v === packet.protocol || v === numbers[packet.protocol],
  '--dport': ([v = ''], { packet }) => inPorts(v, packet.destinationPort),
  '--sport': ([v = ''], { packet }) => inPorts(v, packet.sourcePort),
  '--dports': ([v = ''], { packet }) =>
    v.split(',').some((r) => inPorts(r, packet.destinationPort)),
  '--sports': ([v = ''], { packet }) => v.split(',').some((r) => inPorts(r, packet.sourcePort)),
  '--ports': ([v = ''], { packet }) =>
    v.split(',').some((r) => inPorts(r, packet.destinationPort) || inPorts(r, packet.sourcePort)),
  '--ctstate': ([v = ''], world) => v.split(',').some((state) => hasState(state, world)),
  '--state': ([v = ''], world) => v.split(',').some((state) => hasState(state, world)),
  '--mark': ([v = ''], { mark }) => {
    const [value = 0, mask = 0xffffffff] = v.split('/').map(Number);
    return (mark & mask) >>> 0 === value;
  },
  '--src-type': ([v = ''], { packet }, { node }) => isLocal(v, packet.source, node),
  '--dst-type': ([v = ''], { packet }, { node }) => isLocal(v, packet.destination, node),
  '--bytecode': ([v = ''], { packet }) => takes(v, packet),
  '--match-set': ([set = '', flags = ''], world, { node }) => {
    const members = node.sets.get(set);
    if (members === undefined && node.hasOtherSets === true) return undefined;
    return isMember(members ?? new Set(), flags, world);
  },
  // The first packet of a connection is a SYN.
  '--syn': (_, { packet }) => packet.protocol === 'tcp',
  '--tcp-flags': ([mask = '', set = ''], { packet }) =>
    packet.protocol === 'tcp' &&
    set === (mask.split(',').includes('SYN') || mask === 'ALL' ? 'SYN' : 'NONE'),
  '--rcheck': never,
  '--update': never,
  '--physdev-is-in': never,
  '--physdev-is-bridged': never,
  ...Object.fromEntries(
    [
      '--comment',
      '--set',
      '--mode',
      '--name',
      '--seconds',
      '--reap',
      '--mask',
      '--rsource',
      '--nfacct-name', // it counts
    ].map((name) => [name, always]),
  ),
});

const numbers: Readonly<Record<string, string>> = { tcp: '6', udp: '17', sctp: '132' };

const extensions = new Set(
  'tcp udp sctp multiport comment conntrack state mark statistic addrtype bpf set recent physdev nfacct'.split(
    ' ',
  ),
);

/** How a rule takes a packet. What is sure not to hold decides, whatever else is not known. */
export function matchRule(rule: ParsedRule, world: World, place: Place): Match {
  let chance = 1;
  const open: string[] = [];
  let isKnown = true;
  for (const option of rule.options) {
    if (option.name === '-j' || option.name === '-g') break;
    if (option.name === '-m') isKnown = extensions.has(option.values[0] ?? '');
    if (option.name === '--probability') {
      chance *= fraction(option);
      continue;
    }
    // An option of what is not known may be called like one that is: `-m connmark --mark`.
    const isTold = isKnown || !option.name.startsWith('--');
    const answer = isTold ? answerOf(option, world, place) : undefined;
    if (answer === undefined) open.push(optionText(option));
    else if (!answer) return { chance: 0, unknown: '' };
  }
  return { chance, unknown: open.join(' ') };
}

/** Whether an option holds, its negation counted. */
function answerOf(option: Option, world: World, place: Place): Answer {
  const { name, values, negated } = option;
  if (name === '-m') return extensions.has(values[0] ?? '') ? true : undefined;
  const answer = tests.get(name)?.(values, world, place);
  return answer === undefined ? undefined : answer !== negated;
}

function optionText({ name, values, negated }: Option): string {
  return [...(negated ? ['!'] : []), name, ...values].join(' ');
}

/** The kernel keeps probabilities as multiples of 2^-31. */
function fraction({ values, negated }: Option): number {
  const chance = Math.round(Number(values[0]) * 2 ** 31) / 2 ** 31;
  if (!(chance >= 0 && chance <= 1)) throw new Error(`no probability: ${values[0]}`);
  return negated ? 1 - chance : chance;
}

function inPrefix(text: string, address: Address): Answer {
  const full = text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`;
  const prefix = parseCidr(full);
  return prefix === undefined ? undefined : cidrContains(prefix, address);
}

function isDevice(pattern: string, name = ''): Answer {
  // whatever it is called, it is not the node talking to itself
  if (name === unknownInterface)
    return pattern === 'lo' ? false : pattern === '+' ? true : undefined;
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function inPorts(range: string, port: number): boolean {
  const [from = 0, to = from] = range.split(':').map(Number);
  return port >= from && port <= to;
}

function hasState(state: string, { packet, translated, balanced }: World): boolean {
  return state === 'DNAT' ? translated && balanced !== true : state === packet.state;
}

/** Whether the address is the node's own; all of 127.0.0.0/8 is. */
export function isOwn(address: Address, node: WalkedNode): boolean {
  return address.startsWith('127.') || address === '::1' || node.localAddresses.includes(address);
}

function isLocal(type: string, address: Address, node: WalkedNode): Answer {
  return type === 'LOCAL' ? isOwn(address, node) : undefined;
}

/** A set of addresses, of ports, of both, or of both and a third address or prefix, as `ipset` prints its members. */
function isMember(set: ReadonlySet<string>, flags: string, { packet }: World): Answer {
  const { source, destination, destinationPort, protocol } = packet;
  const frontend = `${destination},${protocol}:${destinationPort}`;
  switch (flags) {
    case 'src':
      return set.has(source);
    case 'dst':
      return set.has(destination) || set.has(String(destinationPort));
    case 'dst,dst':
      return set.has(frontend);
    case 'dst,dst,src':
      return set.has(`${frontend},${source}`) || isInRange(set, frontend, source);
    default:
      return undefined;
  }
}

function isInRange(set: ReadonlySet<string>, frontend: string, source: Address): boolean {
  for (const member of set) {
    if (!member.startsWith(`${frontend},`) || !member.includes('/')) continue;
    if (inPrefix(member.slice(frontend.length + 1), source) === true) return true;
  }
  return false;
}
