// What is said of sets that are not as they were written, of what `ipset save` prints.
import { describe, expect, it } from 'vitest';
import { membersReason } from '../../../../src/backends/iptables/set-audit.ts';
import { ipset } from '../../../support/iptables-states.ts';

const filled = ipset('KUBE-IPVS-A-1', 'hash:ip family inet', ['10.0.0.1', '10.0.0.2']);
const open = { ...ipset('KUBE-IPVS-B-1', 'hash:ip family inet'), members: undefined };
const written = new Map([filled, open].map((set) => [set.name, set]));
const a = ['create KUBE-IPVS-A-1 hash:ip family inet hashsize 1024 maxelem 65536'];
const b = ['create KUBE-IPVS-B-1 hash:ip family inet hashsize 1024 maxelem 65536'];
const both = ['add KUBE-IPVS-A-1 10.0.0.1', 'add KUBE-IPVS-A-1 10.0.0.2'];

describe('the members of sets', () => {
  it.each<[string, readonly string[], string | undefined]>([
    ['all there', [...a, ...both, ...b], undefined],
    [
      'beside sets of others',
      ['create X hash:ip', 'add X 1.1.1.1', ...a, ...both, ...b],
      undefined,
    ],
    ['in a set that no state fills', [...a, ...both, ...b, 'add KUBE-IPVS-B-1 1.1.1.1'], undefined],
    ['gone', [...a, ...both.slice(1), ...b], 'ipset KUBE-IPVS-A-1 has 1 members, expected 2'],
    ['gone, all of them', [...a, ...b], 'ipset KUBE-IPVS-A-1 has 0 members, expected 2'],
    ['gone with their set', b, 'ipset KUBE-IPVS-A-1 is gone'],
    ['gone with a set that no state fills', [...a, ...both], 'ipset KUBE-IPVS-B-1 is gone'],
    [
      'other ones',
      [...a, ...both, 'add KUBE-IPVS-A-1 10.0.0.3', ...b],
      '10.0.0.3 in ipset KUBE-IPVS-A-1 is not ours',
    ],
  ])('%s', (_, lines, reason) => {
    expect(membersReason(written, lines.map((line) => `${line}\n`).join(''))).toBe(reason);
  });
});
