import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually, lab4, lab6, NodeLab } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import type { PodName } from './contract-objects.ts';

const local = { host: 30, type: 'LoadBalancer', externalPolicy: 'Local' } as const;
const [first, second] = [31_030, 31_031];
/** Where balancers ask, and where only the node itself may. */
const outer = [lab4.node, `[${lab6.node}]`] as const;
const own = ['127.0.0.1', '[::1]'] as const;

/** What is asked of healthCheckNodePorts in every mode. */
export function healthPorts(flagsOf: (lab: NodeLab) => readonly string[]): void {
  let lab: NodeLab;
  let agent: AgentProcess;

  beforeEach(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
  });

  afterEach(async () => {
    await lab.close();
  });

  async function publish(healthCheckNodePort: number, ...pods: readonly PodName[]) {
    const object = service('web', { ...local, healthCheckNodePort });
    await lab.write('web', object, ...slices('web', pods));
  }

  function start(...flags: readonly string[]): void {
    agent = lab.startAgent([...flagsOf(lab), ...flags]);
  }

  /** The statuses at these addresses, from outside or from the node; 0: nobody answers. */
  async function statuses(port: number, hosts: readonly string[]): Promise<readonly number[]> {
    const actor = hosts === own ? 'node' : 'client';
    const answers = hosts.map(async (host) => lab.get(actor, `http://${host}:${port}/any`));
    return (await Promise.all(answers)).map(({ status }) => status);
  }

  async function become(
    port: number,
    hosts: readonly string[],
    wanted: readonly number[],
  ): Promise<void> {
    await eventually(
      async () => statuses(port, hosts),
      (seen) => seen.join(' ') === wanted.join(' '),
      30_000,
    ).catch((error: unknown) => {
      throw new Error(agent.log, { cause: error });
    });
  }

  test('answer in both families with the pods of this node, move, and end with their Service', async () => {
    await publish(first, 'pod-a', 'pod-b', 'remote');
    start();
    await become(first, outer, [200, 200]);
    const { body } = await lab.get('client', `http://${lab4.node}:${first}/`);
    expect(JSON.parse(body)).toEqual({
      service: { namespace: 'default', name: 'web' },
      localEndpoints: 2,
      serviceProxyHealthy: true,
    });
    await publish(first, 'remote');
    await become(first, outer, [503, 503]);
    await publish(second, 'pod-a');
    await become(second, outer, [200, 200]);
    expect(await statuses(first, outer)).toEqual([0, 0]);
    await lab.remove('web');
    await become(second, outer, [0, 0]);
  });

  test('are had as soon as whoever has the port lets go of it, without any change of a Service', async () => {
    const holder = await occupy(lab, first);
    await publish(first, 'pod-a');
    start();
    await become(first, outer, [0, 200]);
    expect(agent.log).toContain(
      `default/web: cannot listen on its healthCheckNodePort ${first}: listen EADDRINUSE`,
    );
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    const sockets = 'switchyard_health_check_node_ports{ip_family="IPv4",state';
    expect(body).toContain(`${sockets}="failed"} 1`);
    await end(holder);
    await become(first, outer, [200, 200]);
  });

  test('answer at the addresses of node ports alone', async () => {
    await publish(first, 'pod-a');
    start(`--nodeport-addresses=${lab4.node}/32,${lab6.node}/128`);
    await become(first, outer, [200, 200]);
    expect(await statuses(first, own)).toEqual([0, 0]);
  });
}

/** Another program of the node that listens on an IPv4 port, and answers nothing. */
async function occupy(lab: NodeLab, port: number): Promise<ChildProcess> {
  const program = `require('net').createServer((socket) => socket.destroy()).listen(${port}, '0.0.0.0', () => console.log('held'))`;
  const command = ['netns', 'exec', lab.namespace('node'), process.execPath, '-e', program];
  const holder = spawn('ip', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  return holder;
}

async function end(holder: ChildProcess): Promise<void> {
  const ended = once(holder, 'exit');
  holder.kill('SIGKILL');
  await ended;
}
