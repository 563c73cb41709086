// Who floods a port does not flood the log.
import { expect, test } from 'vitest';
import { Refusals } from '../../../../src/kubelet/server/refusals.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

test('all are counted, and one line a minute tells of them', async () => {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const counted: string[] = [];
  const refusals = new Refusals({
    clock,
    log: {
      ...silentLog,
      warn: (fields, text) => void lines.push(`${text} ${JSON.stringify(fields)}`),
    },
    counted: (reason) => void counted.push(reason),
  });
  refusals.add('too_slow', '10.0.0.1');
  for (let at = 0; at < 100; at += 1) refusals.add('too_many', '10.0.0.2');
  await clock.advance(59_999);
  refusals.add('too_slow', '10.0.0.1');
  await clock.advance(1);
  refusals.add('unreviewed', '10.0.0.3', 'the API server is away');
  expect(counted).toHaveLength(103);
  const begin = "clients of the kubelet's ports were sent away:";
  expect(lines).toEqual([
    `${begin} 1 did not ask in time {"address":"10.0.0.1"}`,
    `${begin} 100 made room for others, 1 did not ask in time, 1 could not be looked up ` +
      '{"address":"10.0.0.3","error":"the API server is away"}',
  ]);
});
