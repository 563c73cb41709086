// The tables of `npm run bench:upstream`: ratios, and when a target counts as met.
import { describe, expect, it } from 'vitest';
import { cells, gaveUp, none, ratio, secondsLimit } from '../../bench/upstream/rows.ts';
import type { Figure, Target } from '../../bench/upstream/rows.ts';

const seconds = (value: number): Figure => ({ value, text: `${value} s` });

describe('a row', () => {
  it.each<[string, Figure | undefined, Figure | undefined, Target, readonly string[]]>([
    ['a share reached', seconds(4), seconds(2), ratio(0.6), ['0.50 ×', '≤ 0.6 ×', 'met']],
    ['a share missed', seconds(4), seconds(3), ratio(0.6), ['0.75 ×', '≤ 0.6 ×', 'not met']],
    ['a limit reached', seconds(1), seconds(6), secondsLimit(6), ['6.00 ×', '≤ 6 s', 'met']],
    ['a limit missed', seconds(9), seconds(7), secondsLimit(6), ['0.78 ×', '≤ 6 s', 'not met']],
    ['a limit without upstream', undefined, seconds(5), secondsLimit(6), ['', '≤ 6 s', 'met']],
    ['a share without upstream', undefined, seconds(5), ratio(0.6), ['', '≤ 0.6 ×', '']],
    ['upstream given up', gaveUp(100), seconds(5), ratio(0.6), ['< 0.05 ×', '≤ 0.6 ×', 'met']],
    ['and too little', gaveUp(100), seconds(80), ratio(0.6), ['< 0.80 ×', '≤ 0.6 ×', 'unknown']],
    ['ours given up', seconds(4), gaveUp(100), ratio(0.6), ['', '≤ 0.6 ×', 'not met']],
    ['ours given up below', undefined, gaveUp(5), secondsLimit(6), ['', '≤ 6 s', 'not met']],
    ['no target', seconds(4), seconds(2), none, ['0.50 ×', '', '']],
    ['nothing of ours', seconds(4), undefined, ratio(0.6), ['', '≤ 0.6 ×', '']],
  ])('with %s', (_, upstream, own, target, expected) => {
    expect(cells({ what: 'x', upstream, own, target }).slice(3)).toEqual(expected);
  });
  it('shows what was measured, and says what was not run', () => {
    expect(cells({ what: 'x', own: gaveUp(120), target: none }).slice(0, 3)).toEqual([
      'x',
      'not run',
      '> 120 s',
    ]);
  });
});
