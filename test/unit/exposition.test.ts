// The comparison of two expositions, on which the one beside upstream's kube-proxy rests.
import { describe, expect, it } from 'vitest';
import { parseExposition, whatIsMissing } from '../support/exposition.ts';
import type { KnownDifference } from '../support/exposition.ts';

const theirs = `# HELP syncs_total Syncs
# TYPE syncs_total counter
syncs_total{ip_family="IPv4",why="a \\"word\\", {x}"} 3 1700000000000
# HELP took_seconds Time
# TYPE took_seconds histogram
took_seconds_bucket{ip_family="IPv4",le="0.5"} 1
took_seconds_bucket{ip_family="IPv4",le="+Inf"} 2
took_seconds_sum{ip_family="IPv4"} 1.5
took_seconds_count{ip_family="IPv4"} 2
# TYPE ready gauge
ready 1
`;

function missing(ours: string, known: readonly KnownDifference[] = []): readonly string[] {
  return whatIsMissing(parseExposition(ours), parseExposition(theirs), known);
}

describe('an exposition', () => {
  it('is read with types, labels and buckets', () => {
    const took = parseExposition(theirs).get('took_seconds');
    expect([took?.type, [...(took?.labels ?? [])], took?.edges]).toEqual([
      'histogram',
      ['ip_family'],
      [0.5, Number.POSITIVE_INFINITY],
    ]);
    expect([...(parseExposition(theirs).get('syncs_total')?.labels ?? [])]).toEqual([
      'ip_family',
      'why',
    ]);
  });

  it('that is none is refused', () => {
    expect(() => parseExposition('syncs_total 3')).toThrow('no metric: syncs_total 3');
    expect(() => parseExposition('<html>')).toThrow('no metric');
  });
});

describe('what is missing of another exposition', () => {
  it('is nothing where there is as much or more', () => {
    expect(missing(`${theirs}# TYPE own gauge\nown 1\n`)).toEqual([]);
  });

  it.each([
    ['a metric', theirs.replaceAll('ready', 'steady'), 'ready: is not there'],
    ['a type', theirs.replace('gauge', 'counter'), 'ready: is a counter, and there a gauge'],
    [
      'a label',
      theirs.replace('ip_family="IPv4",why', 'why'),
      'syncs_total: has the labels why, and there ip_family why',
    ],
    [
      'a bucket',
      theirs.replace('le="0.5"', 'le="0.25"'),
      'took_seconds: has the buckets 0.25 Infinity, and there 0.5 Infinity',
    ],
  ])('is %s', (_, ours, what) => {
    expect(missing(ours)).toEqual([what]);
  });

  it('is not what is known, and what is known has to show', () => {
    const known = [{ metrics: /^ready$/, reason: 'a test' }];
    expect(missing(theirs.replaceAll('ready', 'steady'), known)).toEqual([]);
    expect(missing(theirs, known)).toEqual(['^ready$: no difference any more']);
  });
});
