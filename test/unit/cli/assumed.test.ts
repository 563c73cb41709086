/** Its one job: what a node can do is taken from the rules that are there. */
import { describe, expect, it } from 'vitest';
import { parseSave } from '../../../src/backends/iptables/read.ts';
import type { ObservedTable } from '../../../src/backends/iptables/read.ts';
import { assumedOf, assumedText } from '../../../src/cli/diff/assumed.ts';

const table = (...rules: readonly string[]): ObservedTable => parseSave(`${rules.join('\n')}\n`);

describe('what a node can do', () => {
  const nat = table('-A KUBE-POSTROUTING -j MASQUERADE --random-fully');
  const assumed = (...forward: readonly string[]) =>
    assumedOf({
      nat,
      filter: table(...forward.map((rule) => `-A KUBE-FORWARD ${rule}`)),
      mangle: table(),
    });

  it('is to count packets where rules do', () => {
    const counting =
      '-m conntrack --ctstate INVALID -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP';
    expect(assumed(counting)).toMatchObject({
      features: { nfacct: true },
      conntrackBeLiberal: false,
    });
    const silent = assumed('-m conntrack --ctstate INVALID -j DROP');
    expect(silent).not.toHaveProperty('features.nfacct');
    expect(silent.conntrackBeLiberal).toBe(false);
    expect(assumed('-m mark --mark 0x4000/0x4000 -j ACCEPT').conntrackBeLiberal).toBe(true);
  });

  it('is told where it is not what most nodes can do, and nobody has said so', () => {
    const silent = '-m conntrack --ctstate INVALID -j DROP';
    expect(assumedText(assumed(silent), { hairpin: 'rules' })).toBe('');
    const other = assumedOf({
      nat: table('-A KUBE-POSTROUTING -m set --match-set KUBE-HAIRPIN dst -j MASQUERADE'),
      filter: table('-A KUBE-FORWARD -j ACCEPT'),
      mangle: table(),
    });
    const told = 'randomFully=false, no rule against invalid packets (--features says otherwise)';
    expect(assumedText(other, { hairpin: 'ipset' })).toContain(told);
    expect(assumedText(other, {})).toContain(`hairpin=ipset, ${told}`);
  });
});
