// Headers of the bundle's CRI client behave as those of the web's fetch, as far as the client uses them.
import { array, assert, constantFrom, oneof, property, record, stringMatching } from 'fast-check';
import { expect, it } from 'vitest';
import { Headers as PlainHeaders } from '../../../../src/kubelet/cri/plain-headers.ts';

const name = constantFrom('grpc-status', 'Grpc-Status', 'grpc-message', 'Content-Type', 'te');
const value = stringMatching(/^[ !-~\t]{0,12}$/).map((text) =>
  text.length > 9 ? ` ${text}\t` : text,
);
const step = oneof(
  record({ do: constantFrom('append', 'set'), name, value }),
  record({ do: constantFrom('get', 'has', 'delete'), name }),
);
type Step = { do: 'append' | 'set'; name: string; value: string } | { do: 'get'; name: string };

function apply(to: Headers | PlainHeaders, steps: readonly Step[]): unknown {
  const answers = steps.map((each) =>
    'value' in each ? to[each.do](each.name, each.value) : to[each.do](each.name),
  );
  const told: unknown[] = [];
  to.forEach((text, key) => told.push([key, text]));
  return { answers, told, all: [...to], keys: [...to.keys()], values: [...to.values()] };
}

it('answers as the web’s do, whatever is done with them', () => {
  assert(
    property(array(step, { maxLength: 12 }), (steps) => {
      const wanted = apply(new Headers(), steps as Step[]);
      expect(apply(new PlainHeaders(), steps as Step[])).toEqual(wanted);
    }),
  );
});

it.each([
  ['a record', { 'Content-Type': 'application/grpc', te: 'trailers' }],
  ['pairs', [['Te', 'a'] as const, ['te', 'b'] as const]],
])('are made of %s', (_, init) => {
  const plain = new PlainHeaders(init);
  expect([...plain]).toEqual([...new Headers(init as Record<string, string>)]);
  expect([...new PlainHeaders(plain)]).toEqual([...plain]);
});
