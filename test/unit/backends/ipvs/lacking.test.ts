// Which virtual servers wait where nobody knows what sets hold: what is new, what goes, and what another Service takes over.
import { describe, expect, it } from 'vitest';
import { achieved, targetOf } from '../../../../src/backends/ipvs/diff.ts';
import type { KernelServer } from '../../../../src/backends/ipvs/diff.ts';
import { Lacking } from '../../../../src/backends/ipvs/lacking.ts';
import type { VirtualServer } from '../../../../src/backends/ipvs/state.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import { virtualServer } from '../../../support/small-ipvs-states.ts';

const serverOf = (name: string, ...pods: readonly string[]): VirtualServer =>
  virtualServer(name, '10.96.0.1:80', pods);
const there = (server: VirtualServer): KernelServer => achieved(targetOf(server), undefined);
/** As it is known of an agent before this one. */
const found = (server: VirtualServer): KernelServer => ({ ...there(server), wanted: undefined });
const before = serverOf('web', '10.1.0.1:80', '10.1.0.2:80');

/** Whether the server waits where ipset did not run. */
function waits(have: KernelServer | undefined, wanted: VirtualServer | undefined): boolean {
  const lacking = new Lacking(new SwitchyardError('tool', 'ipset was ended by SIGKILL'));
  const targets = new Map([[before.key, wanted && targetOf(wanted)]]);
  const known = new Map(have === undefined ? [] : [[before.key, have]]);
  return lacking.heldBack(targets, known).has(before.key);
}

describe('a virtual server, where nobody knows what sets hold', () => {
  const others = serverOf('other', '10.1.0.7:80');

  it.each<[string, KernelServer | undefined, VirtualServer | undefined, boolean]>([
    ['comes', undefined, before, true],
    ['goes', there(before), undefined, true],
    ['follows the endpoints of its Service', there(before), serverOf('web', '10.1.0.9:80'), false],
    // What keeps others from the second may not be in.
    ['passes to another Service', there(before), others, true],
    [
      'was found with endpoints of its Service',
      found(before),
      serverOf('web', '10.1.0.2:80'),
      false,
    ],
    ['was found with those of nobody it is to have', found(before), others, true],
    ['was found without any', found(serverOf('web')), before, false],
  ])('%s', (_, have, wanted, isWaiting) => {
    expect(waits(have, wanted)).toBe(isWaiting);
  });
});
