import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rotation, shuffled } from '../../../src/relay/rotation.ts';

const members = (...weights: readonly number[]) => weights.map((weight) => ({ weight }));

function turns(rotation: Rotation, count: number, from = 0): readonly number[] {
  return Array.from({ length: count }, (_, i) => rotation.at(from + i));
}

function shares(list: readonly number[], count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => list.filter((index) => index === i).length);
}

describe('turns', () => {
  it('go round where all weigh the same', () => {
    expect(turns(new Rotation(members(7, 7, 7)), 7)).toEqual([0, 1, 2, 0, 1, 2, 0]);
  });

  it('are interleaved by weight', () => {
    expect(turns(new Rotation(members(5, 1, 1)), 7)).toEqual([0, 0, 1, 0, 2, 0, 0]);
    expect(turns(new Rotation(members(20, 10)), 6)).toEqual([0, 1, 0, 0, 1, 0]);
  });

  it('go on past the end of 32 bits', () => {
    const rotation = new Rotation(members(1, 1));
    expect([2 ** 31 - 1, -(2 ** 31), -1, 0].map((turn) => rotation.at(turn))).toEqual([1, 0, 1, 0]);
  });

  it('are exact in each round, and never far from it on the way', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(weights, fc.nat(1_000_000), (list, from) => {
        const total = list.reduce((sum, weight) => sum + weight, 0);
        const rotation = new Rotation(members(...list));
        expect(shares(turns(rotation, total, from * total), list.length)).toEqual(list);
        for (const part of [1, 2, 3].map((quarter) => Math.floor((total * quarter) / 4))) {
          const sofar = shares(turns(rotation, part), list.length);
          sofar.forEach((share, i) => {
            const due = ((list[i] ?? 0) * part) / total;
            expect(Math.abs(share - due)).toBeLessThan(list.length);
          });
        }
      }),
    );
  });

  it('are rounded where a round would be too long', () => {
    const rotation = new Rotation(members(65_535, 1, 32_768));
    const list = shares(turns(rotation, 16_384), 3);
    expect(list[0]).toBeGreaterThan(10_900);
    expect(list[1]).toBe(1);
    expect(list[2]).toBeGreaterThan(5400);
  });

  it('of somebody who has tried some go to the next that was not tried', () => {
    const rotation = new Rotation(members(1, 1, 1, 1));
    const after = (turn: number, ...tried: readonly number[]) =>
      rotation.after(turn, (index) => tried.includes(index));
    expect(after(1)).toBe(1);
    expect(after(1, 1, 2)).toBe(3);
    expect(after(3, 3, 0)).toBe(1);
    expect(after(2, 0, 1, 2, 3)).toBe(2);
  });

  it('of somebody who has tried thousands ask of few: each try would cost them all', () => {
    const count = 4000;
    const rotation = new Rotation(members(...Array<number>(count).fill(1)));
    const tried = new Set<number>();
    let asked = 0;
    for (let turn = 0; turn < count; turn++) {
      const index = rotation.after(turn, (each) => {
        asked++;
        return tried.has(each);
      });
      tried.add(index);
    }
    expect(tried.size).toBe(count);
    expect(asked).toBe(count);
  });
});

describe('shuffling', () => {
  it('keeps all members', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer()),
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (list, random) => {
          const order = shuffled(list, () => random.next().value ?? 0);
          expect(order.toSorted((a, b) => a - b)).toEqual(list.toSorted((a, b) => a - b));
        },
      ),
    );
  });

  it('is what the random numbers say', () => {
    expect(shuffled(['a', 'b', 'c'], () => 0)).toEqual(['b', 'c', 'a']);
    expect(shuffled(['a', 'b', 'c'], () => 0.999)).toEqual(['a', 'b', 'c']);
  });
});
