/** Ports of the node that lead to pods. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { forever, one } from './trial.ts';
import type { Trial } from './trial.ts';

const web = 'mkdir -p /www; echo hello > /www/index.html; httpd -f -p 8080 -h /www';

/** What is answered at an address of the node, or why nothing is. By hand: wget of a static busybox looks names up, which it cannot here. */
function asked({ world }: Trial, address: string, port: number): string {
  const request = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${address} ${port}`;
  try {
    return world.runtime.node.run('busybox', 'sh', '-c', request);
  } catch (error) {
    return String(error);
  }
}

export const hostPorts: readonly Scenario[] = [
  {
    number: 111,
    title:
      'a port of the node leads to the pod: at each of its addresses, or at the one that is named',
    notInMemory: 'its pods have no network',
    async run(trial) {
      const { address, podCidr } = trial.world.runtime.node;
      const gateway = podCidr.replace('.0/24', '.1');
      const ports = [
        { containerPort: 8080, hostPort: 18080 },
        { containerPort: 8080, hostPort: 18081, hostIP: address },
      ];
      const pod = await trial.pod(one(web, { ports }));
      await pod.running();
      let said = '';
      await trial.world.until(
        'it answers',
        () => {
          said = asked(trial, address, 18080);
          return said.endsWith('hello\n');
        },
        30,
        () => said,
      );
      expect(asked(trial, gateway, 18080)).toMatch(/hello\n$/);
      expect(asked(trial, address, 18081)).toMatch(/hello\n$/);
      expect(asked(trial, gateway, 18081)).not.toMatch(/hello\n$/);
      await pod.remove();
      expect(asked(trial, address, 18080)).not.toMatch(/hello\n$/);
    },
  },
  {
    number: 112,
    title: 'a port of the node that another pod has: the pod fails, and never starts',
    async run(trial) {
      const ports = [{ containerPort: 80, hostPort: 18082, hostIP: '10.0.0.1' }];
      const first = await trial.pod(one(forever, { ports }));
      await first.running();
      const others = [
        { containerPort: 80, hostPort: 18082, protocol: 'UDP' },
        { containerPort: 81, hostPort: 18082, hostIP: '10.0.0.2' },
      ];
      const beside = await trial.pod(one(forever, { ports: others }));
      await beside.running();
      const taken = await trial.pod(
        one(forever, { ports: [{ containerPort: 9, hostPort: 18082 }] }),
      );
      expect(await taken.phase('Failed')).toMatchObject({ reason: 'NodePorts' });
      await taken.event('NodePorts', "node(s) didn't have free ports for the requested pod ports");
      expect(await taken.sandboxes()).toEqual([]);
    },
  },
];
