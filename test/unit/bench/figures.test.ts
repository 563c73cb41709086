// The arithmetic of `npm run bench:upstream`: what /proc and clients say, as figures.
import { describe, expect, it } from 'vitest';
import {
  chiSquared,
  cpuPercent,
  cpuTicks,
  memory,
  percentile,
  spreadError,
} from '../../bench/upstream/figures.ts';

describe('percentile', () => {
  it.each([
    [[3, 1, 2], 0.5, 2],
    [[4, 1, 3, 2], 0.5, 2],
    [[10, 9], 1, 10],
    [[7], 0, 7],
    [[100, 20, 3], 0.99, 100],
  ])('of %j at %d is %d', (values, share, expected) => {
    expect(percentile(values, share)).toBe(expected);
  });
  it('of nothing is an error', () => {
    expect(() => percentile([], 0.5)).toThrow('nothing was measured');
  });
});

describe('CPU time', () => {
  it.each(['node', 'a b) S 9 (c', 'iptables-restor'])(
    'of a process and its ended children, whatever it is called: %s',
    (name) => {
      expect(cpuTicks(stat(name))).toBe(350);
    },
  );
  it('is a share of one core', () => {
    expect(cpuPercent(350, 650, 30)).toBe(10);
    expect(cpuPercent(0, 6000, 30)).toBe(200);
  });
  it('is not read from anything else', () => {
    expect(() => cpuTicks('4711 (node) S 1')).toThrow('not a line of /proc/PID/stat');
  });
});

describe('memory', () => {
  const status = 'Name:\tnode\nVmPeak:\t 999999 kB\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n';

  it('is what is resident, now and at most', () => {
    expect(memory(status)).toEqual({ residentMiB: 100, peakMiB: 200 });
  });
  it('of a process that has ended is an error', () => {
    expect(() => memory('Name:\tnode\nState:\tZ (zombie)\n')).toThrow('has no VmRSS');
  });
});

describe('the spread over endpoints', () => {
  it('is told by the share that is furthest from an equal one', () => {
    expect(spreadError([0.25, 0.25, 0.25, 0.25], 4)).toBe(0);
    expect(spreadError([0.25, 0.25, 0.2, 0.3], 4)).toBeCloseTo(0.2);
  });
  it('is wholly wrong where an endpoint has no share, or a stranger has one', () => {
    expect(spreadError([0.5, 0.5], 3)).toBe(1);
    expect(spreadError([0.5, 0.3, 0.2], 2)).toBe(1);
  });
  it('of real connects counts endpoints that never answered', () => {
    expect(chiSquared([10, 10, 10], 3)).toBe(0);
    expect(chiSquared([12, 8], 2)).toBeCloseTo(0.8);
    expect(chiSquared([30], 3)).toBeCloseTo(40 + 10 + 10);
  });
});

function stat(name: string): string {
  return `4711 (${name}) S 1 4711 4711 0 -1 4194304 9 8 7 6 250 50 30 20 20 0 11 0 12345 1 2`;
}
