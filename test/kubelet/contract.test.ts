// The kubelet's scenarios, on real containerd and on the runtime in memory, by the same code and under one control plane.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contract, scenarios } from './contract/suite.ts';
import { MemoryRuntime, containerdRuntime } from './contract/runtimes.ts';
import { ServedRegistry } from './contract/registry.ts';
import { World } from './contract/world.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { NodeMachine, fabricAddress } from './node-machine.ts';

// Services may have addresses of either family.
const serviceCidrs = '10.96.0.0/16,fd00:96::/112';
const cluster = new KubeletCluster(['n1'], {
  apiServerFlags: [`--service-cluster-ip-range=${serviceCidrs}`],
});
const registry = new ServedRegistry(fabricAddress);
// Beyond the safe ones.
const setting = { configuration: { allowedUnsafeSysctls: ['net.core.*'] } };
let real: World;
let memory: World;

beforeAll(async () => {
  const other = busyboxImage('docker.io/local/busybox:2', { StopSignal: 'SIGTERM' });
  await cluster.start([pauseImage(), busyboxImage(), other]);
  await registry.start();
  const [node] = cluster.nodes;
  real = new World(containerdRuntime(node ?? expect.fail(), registry), cluster, setting);
  const runtime = new MemoryRuntime(new NodeMachine('memory', 0));
  await runtime.start();
  memory = new World(runtime, cluster, setting);
  await Promise.all([real.start(), memory.start()]);
});

afterAll(async () => {
  await memory.stop();
  await real.stop();
  await cluster.stop();
  registry.stop();
});

describe('the scenarios', () => {
  it('have each a number of their own', () => {
    const numbers = scenarios.map(({ number }) => number);
    expect(new Set(numbers).size).toBe(numbers.length);
  });
});

contract({ containerd: () => real, memory: () => memory });
