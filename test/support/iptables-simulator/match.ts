import { addressBytes } from '../../../src/ip/address.ts';
import type { Address } from '../../../src/ip/address.ts';
import { cidrContains, parseCidr } from '../../../src/ip/cidr.ts';
import type { Option, ParsedRule } from './parse.ts';
import type { SimulatedNode, World } from './packet.ts';

/** Where in the kernel's path the rule is asked. */
export interface Place {
  readonly node: SimulatedNode;
  readonly inInterface: string | undefined;
  readonly outInterface: string | undefined;
}

type Test = (values: readonly string[], world: World, place: Place) => boolean;

const always: Test = () => true;
const never: Test = () => false;

const tests: Readonly<Record<string, Test>> = {
  '-s': ([v = ''], { packet }) => inPrefix(v, packet.source),
  '-d': ([v = ''], { packet }) => inPrefix(v, packet.destination),
  '-i': ([v = ''], _, { inInterface }) => isDevice(v, inInterface),
  '-o': ([v = ''], _, { outInterface }) => isDevice(v, outInterface),
  '-p': ([v = ''], { packet }) => v === 'all' || v === packet.protocol,
  '--dport': ([v = ''], { packet }) => inPorts(v, packet.destinationPort),
  '--sport': ([v = ''], { packet }) => inPorts(v, packet.sourcePort),
  '--dports': ([v = ''], { packet }) =>
    v.split(',').some((r) => inPorts(r, packet.destinationPort)),
  '--sports': ([v = ''], { packet }) => v.split(',').some((r) => inPorts(r, packet.sourcePort)),
  '--ctstate': ([v = ''], world) => v.split(',').some((state) => hasState(state, world)),
  '--mark': ([v = ''], { mark }) => {
    const [value = 0, mask = 0xffffffff] = v.split('/').map(Number);
    return (mark & mask) >>> 0 === value;
  },
  '--src-type': ([v = ''], { packet }, { node }) => isLocal(v, packet.source, node),
  '--dst-type': ([v = ''], { packet }, { node }) => isLocal(v, packet.destination, node),
  '--bytecode': ([v = ''], world) => runFilter(v, header(world)) !== 0,
  '--match-set': ([set = '', flags = ''], world, { node }) =>
    isMember(node.sets.get(set) ?? new Set(), flags, world),
  '--rcheck': never,
  '--physdev-is-in': never,
  '--physdev-is-bridged': never,
  ...Object.fromEntries(
    [
      '-m',
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
};

const extensions = new Set(
  'tcp udp sctp multiport comment conntrack mark statistic addrtype bpf set recent physdev nfacct'.split(
    ' ',
  ),
);

/** Whether all matches hold, but for `--probability`, which is returned. */
export function matchRule(rule: ParsedRule, world: World, place: Place): number {
  let probability = 1;
  for (const option of rule.options) {
    if (option.name === '-j' || option.name === '-g') break;
    if (option.name === '--probability') {
      probability *= fraction(option);
      continue;
    }
    const test = tests[option.name];
    if (!test) throw new Error(`${option.name} is no match: ${rule.text}`);
    if (option.name === '-m' && !extensions.has(option.values[0] ?? ''))
      throw new Error(`unknown match ${option.values[0]}: ${rule.text}`);
    if (test(option.values, world, place) === option.negated) return 0;
  }
  return probability;
}

/** The kernel keeps probabilities as multiples of 2^-31. */
function fraction({ values, negated }: Option): number {
  const chance = Math.round(Number(values[0]) * 2 ** 31) / 2 ** 31;
  if (!(chance >= 0 && chance <= 1)) throw new Error(`no probability: ${values[0]}`);
  return negated ? 1 - chance : chance;
}

function inPrefix(text: string, address: Address): boolean {
  const full = text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`;
  const prefix = parseCidr(full);
  if (prefix === undefined) throw new Error(`no prefix: ${text}`);
  return cidrContains(prefix, address);
}

function isDevice(pattern: string, name = ''): boolean {
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
export function isOwn(address: Address, node: SimulatedNode): boolean {
  return address.startsWith('127.') || address === '::1' || node.localAddresses.includes(address);
}

function isLocal(type: string, address: Address, node: SimulatedNode): boolean {
  if (type !== 'LOCAL') throw new Error(`unknown address type ${type}`);
  return isOwn(address, node);
}

/** A set of addresses, of ports, of both, or of both and a third address or prefix, as `ipset` prints its members. */
function isMember(set: ReadonlySet<string>, flags: string, { packet }: World): boolean {
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
      throw new Error(`unknown set dimensions ${flags}`);
  }
}

function isInRange(set: ReadonlySet<string>, frontend: string, source: Address): boolean {
  for (const member of set) {
    if (!member.startsWith(`${frontend},`) || !member.includes('/')) continue;
    if (inPrefix(member.slice(frontend.length + 1), source)) return true;
  }
  return false;
}

function header({ packet }: World): DataView {
  const v6 = packet.source.includes(':');
  const bytes = new Uint8Array(v6 ? 40 : 20);
  bytes.set(addressBytes(packet.source), v6 ? 8 : 12);
  bytes.set(addressBytes(packet.destination), v6 ? 24 : 16);
  return new DataView(bytes.buffer);
}

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const halt: Instruction = { code: -1, jt: 0, jf: 0, k: 0 };

/** `4,48 0 0 9,21 0 1 6,…`: a count, then code, jt, jf and k of each instruction. */
function readProgram(text: string): readonly Instruction[] {
  return text
    .split(',')
    .slice(1)
    .map((each) => {
      const [code = -1, jt = 0, jf = 0, k = 0] = each.trim().split(/\s+/).map(Number);
      return { code, jt, jf, k };
    });
}

/** Runs classic BPF: word loads, tax, jeq by constant or X, ret. Other instructions throw. */
function runFilter(text: string, data: DataView): number {
  const program = readProgram(text);
  let [a, x] = [0, 0];
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at] ?? halt;
    switch (code) {
      case 32:
        a = data.getUint32(k);
        break;
      case 7:
        x = a;
        break;
      case 21:
      case 29:
        at += a === (code === 21 ? k : x) ? jt : jf;
        break;
      case 6:
        return k;
      default:
        throw new Error(`unknown instruction ${code}`);
    }
  }
  throw new Error('the program does not return');
}
