import { createRouterTransport } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { criOver } from '../../../../src/kubelet/cri/client.ts';
import { RuntimeService } from '../../../../src/kubelet/cri/gen/api_pb.ts';
import { meteredCri } from '../../../../src/kubelet/cri/metered.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

/** Every call of the runtime is counted, and none is changed. */

test('each unary call is told of with its name and its end', async () => {
  const transport = createRouterTransport(({ service }) => {
    service(RuntimeService, { version: () => ({ runtimeName: 'memory' }) });
  });
  const told: string[] = [];
  const cri = meteredCri(
    criOver(transport, 'memory', new VirtualClock()),
    (name, seconds, failed) => {
      told.push(`${name} ${seconds >= 0} ${failed}`);
    },
  );
  expect(await cri.runtime.version({})).toMatchObject({ runtimeName: 'memory' });
  await expect(cri.runtime.status({})).rejects.toThrow('Status');
  expect(told).toEqual(['Version true false', 'Status true true']);
});
