/** What a node's kubelet answers at its ports, and what it does with logs that grow. */
import { expect } from 'vitest';
import { askNode } from '../ask.ts';
import type { Scenario } from './scenario.ts';
import { one } from './trial.ts';

export const serving: readonly Scenario[] = [
  {
    number: 99,
    title: 'health: ok, at the port for it and at 10250',
    async run({ world }) {
      const { node } = world.runtime;
      // The node may be Ready a moment before the kubelet has begun with pods.
      await world.until('it is healthy', () =>
        node
          .run('sh', '-c', 'busybox wget -qO- http://127.0.0.1:10248/healthz || true')
          .includes('ok'),
      );
      for (const path of ['/healthz', '/healthz/ping', '/healthz/syncloop']) {
        const url = `/api/v1/nodes/${world.node}/proxy${path}`;
        expect(await world.cluster.control.request('GET', url)).toMatchObject({
          status: 200,
          text: 'ok',
        });
      }
    },
  },
  {
    number: 100,
    title: 'who has no credentials is not known; who may not ask is refused; the API server may',
    async run(trial) {
      const { world } = trial;
      const { address } = world.runtime.node;
      const pod = await trial.runningPod();
      const nobody = await askNode(address, '/pods');
      expect(nobody).toEqual({ status: 401, text: 'Unauthorized' });
      const node = world.cluster.certificate(world.runtime.node);
      const path = `/containerLogs/default/${pod.name}/main`;
      const refused = await askNode(address, path, node);
      expect(refused.status).toBe(403);
      expect(refused.text).toMatch(
        new RegExp(`^Forbidden \\(user=system:node:${world.node}, verb=get, resource=nodes, `),
      );
      const url = `/api/v1/nodes/${world.node}/proxy/pods`;
      const listed = await world.cluster.control.request('GET', url);
      expect(listed.status).toBe(200);
      expect(listed.text).toContain(pod.uid);
    },
  },
  {
    number: 102,
    title:
      'a log that has grown gets another name, the one before it is compressed, and it goes on',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const { node } = world.runtime;
      const configuration = {
        containerLogMaxSize: '8Ki',
        containerLogMaxFiles: 3,
        containerLogMonitorInterval: '3s',
      };
      await trial.otherKubelet({ configuration });
      const line = 'x'.repeat(500);
      const pod = await trial.pod(one(`while true; do echo ${line}; sleep 0.05; done`));
      await pod.running();
      const folder = `/var/log/pods/default_${pod.name}_${pod.uid}/main`;
      const files = (): readonly string[] => node.run('ls', folder).trim().split('\n');
      const kinds = (): readonly string[] =>
        files()
          .filter((file) => !file.endsWith('.tmp'))
          .map((file) => file.replace(/\d{8}-\d{6}/, 'TIME'))
          .toSorted();
      const whole = ['0.log', '0.log.TIME', '0.log.TIME.gz'];
      await pod.until('there are three files', async () => kinds().join() === whole.join());
      const first = files().find((file) => file.endsWith('.gz')) ?? '';
      await pod.until('the oldest went', async () => !files().includes(first));
      expect(kinds().length).toBeLessThanOrEqual(whole.length);
      // In the middle of a rotation a file may be gone.
      await pod.until('the compressed one has lines', async () =>
        /^\S+ stdout F x+\n$/.test(node.run('sh', '-c', `zcat ${folder}/0.log.*.gz | tail -n 1`)),
      );
      const size = (): number =>
        Number(node.run('sh', '-c', `stat -c %s ${folder}/0.log || echo 0`));
      await pod.until('it writes into the new file', async () => size() > line.length);
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
];
