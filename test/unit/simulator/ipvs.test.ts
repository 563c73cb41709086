import { describe, expect, it } from 'vitest';
import { parseIpvs } from '../../support/ipvs-simulator/parse.ts';
import { simulateIpvs } from '../../support/ipvs-simulator/traverse.ts';
import { address } from '../../support/service-ports.ts';

// What the simulator takes for the kernel's order (docs/adr/0008-ipvs-layout.md), by rules written by hand.

const local = [address('192.0.2.1')];
const outside = {
  protocol: 'tcp',
  source: address('198.51.100.1'),
  sourcePort: 40_000,
  destination: address('10.96.0.10'),
  destinationPort: 80,
  inInterface: 'eth0',
  outInterface: 'cni0',
  state: 'NEW',
} as const;
const fromNode = { ...outside, source: local[0] ?? outside.source, inInterface: undefined };

function ipvsText(rules: readonly string[], real = '10.1.0.1:8080', sets: readonly string[] = []) {
  return [
    '## sets: ipset restore',
    ...sets,
    '## rules: iptables-restore --noflush',
    ...rules,
    '## virtual servers: ipvsadm --restore',
    '-A -t 10.96.0.10:80 -s wrr',
    `-a -t 10.96.0.10:80 -r ${real} -m -w 1`,
    `-a -t 10.96.0.10:80 -r 10.1.0.2:8080 -m -w 3`,
    '## addresses: ip -batch -',
    'link add kube-ipvs0 type dummy',
    'address add 10.96.0.10/32 dev kube-ipvs0',
  ].join('\n');
}

const ends = (packet: typeof outside | typeof fromNode, ...rules: string[]) =>
  simulateIpvs(parseIpvs(ipvsText(rules)), local, packet).map(
    ({ kind, destination, masqueraded }) =>
      kind === 'delivered' ? `${destination}${masqueraded ? ' masqueraded' : ''}` : kind,
  );
const table = (name: string, ...rules: string[]) => [`*${name}`, ...rules, 'COMMIT'];

describe('the ipvs simulator', () => {
  it('spreads by weight where the scheduler does', () => {
    const shares = simulateIpvs(parseIpvs(ipvsText([])), local, outside);
    expect(shares.map(({ destination, probability }) => [destination, probability])).toEqual([
      ['10.1.0.1', 0.25],
      ['10.1.0.2', 0.75],
    ]);
  });

  it('shows what arrives to filter INPUT before ipvs, never to FORWARD', () => {
    expect(ends(outside, ...table('filter', '-A INPUT -d 10.96.0.10/32 -j DROP'))).toEqual([
      'drop',
    ]);
    expect(ends(outside, ...table('filter', '-A FORWARD -j DROP'))).toEqual([
      '10.1.0.1',
      '10.1.0.2',
    ]);
  });

  it('shows what the node sends to mangle before ipvs, to filter after it', () => {
    const toService = (name: string) => table(name, '-A OUTPUT -d 10.96.0.10/32 -j DROP');
    expect(ends(fromNode, ...toService('mangle'))).toEqual(['drop']);
    expect(ends(fromNode, ...toService('filter'))).toEqual(['10.1.0.1', '10.1.0.2']);
    const toServer = table('filter', '-A OUTPUT -d 10.1.0.1/32 -j DROP');
    expect(ends(fromNode, ...toServer)).toEqual(['drop', '10.1.0.2']);
  });

  it('sends on what ipvs took by OUTPUT and POSTROUTING, without asking nat a second time', () => {
    const rules = table(
      'nat',
      '-A OUTPUT -d 10.1.0.1/32 -j DNAT --to-destination 10.9.9.9:9',
      '-A POSTROUTING -d 10.1.0.2/32 -j MASQUERADE',
    );
    for (const packet of [outside, fromNode]) {
      expect(ends(packet, ...rules)).toEqual(['10.1.0.1', '10.1.0.2 masqueraded']);
    }
    const output = table('filter', '-A OUTPUT -d 10.1.0.2/32 -j REJECT');
    expect(ends(outside, ...output)).toEqual(['10.1.0.1', 'reject']);
  });

  it('knows no DNAT of what ipvs translated', () => {
    const rules = table('nat', '-A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE');
    expect(ends(outside, ...rules)).toEqual(['10.1.0.1', '10.1.0.2']);
  });

  it('brings a real server on the node its packets: from outside as they came, from the node over lo', () => {
    const text = ipvsText(table('filter', '-A INPUT -i lo -j DROP'), '192.0.2.1:8080');
    const first = (packet: typeof outside | typeof fromNode) =>
      simulateIpvs(parseIpvs(text), local, packet)[0]?.kind;
    expect(first(outside)).toBe('delivered');
    expect(first(fromNode)).toBe('drop');
  });

  it('looks into sets with addresses, ports and ranges', () => {
    const dims = ['dst', 'dst,dst', 'dst,dst,src'];
    const sets = dims.map((_, i) => `create S${i} any`);
    const members = ['10.96.0.10', '10.96.0.10,tcp:80', '10.96.0.10,tcp:80,198.51.100.0/24'];
    const lines = [...sets, ...members.map((member, i) => `add S${i} ${member}`)];
    for (const [i, flags] of dims.entries()) {
      const rules = table('filter', `-A INPUT -m set --match-set S${i} ${flags} -j DROP`);
      const end = (packet: typeof outside) =>
        simulateIpvs(parseIpvs(ipvsText(rules, undefined, lines)), local, packet)[0]?.kind;
      expect(end(outside)).toBe('drop');
      const other = [
        { ...outside, destination: address('192.0.2.1') },
        { ...outside, destinationPort: 81 },
        { ...outside, source: address('198.51.101.1') },
      ][i];
      expect(end({ ...outside, ...other } as never)).toBe('delivered');
    }
  });

  it('refuses what the tools would refuse', () => {
    expect(() =>
      parseIpvs(ipvsText(table('filter', '-A INPUT -m set --match-set NONE dst -j DROP'))),
    ).toThrow('NONE');
    expect(() => parseIpvs(ipvsText([], undefined, ['add NONE 10.0.0.1']))).toThrow('ipset');
    expect(() => parseIpvs(ipvsText([]).replace('-A -t', '-A -u'))).toThrow('ipvsadm');
    expect(() => parseIpvs(ipvsText([]).replace('/32 dev', '/24 dev'))).toThrow('ip would');
  });
});
