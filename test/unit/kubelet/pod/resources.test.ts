// What a pod asks for in sum, and the class that makes it.
import { describe, expect, test } from 'vitest';
import { defaultPod } from '../../../../src/kubelet/pod/default-pod.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { qosClassOf } from '../../../../src/kubelet/pod/qos.ts';
import { quantityText } from '../../../../src/kubelet/pod/quantity.ts';
import { podLimits, podRequests } from '../../../../src/kubelet/pod/resources.ts';

interface Part {
  readonly requests?: object;
  readonly limits?: object;
  readonly sidecar?: true;
}

function pod(containers: readonly Part[], init: readonly Part[] = [], spec: object = {}): Pod {
  const part = ({ sidecar, ...resources }: Part, index: number): object => ({
    name: `c${index}`,
    resources,
    ...(sidecar && { restartPolicy: 'Always' }),
  });
  return defaultPod({
    metadata: { name: 'web' },
    spec: { containers: containers.map(part), initContainers: init.map(part), ...spec },
  });
}

function text(amounts: ReadonlyMap<string, bigint>): object {
  return Object.fromEntries([...amounts].map(([name, amount]) => [name, quantityText(amount)]));
}

function cpu(amount: string, sidecar?: true): Part {
  return { requests: { cpu: amount }, ...(sidecar && { sidecar }) };
}

describe('requests', () => {
  test('of all containers together', () => {
    const two = pod([{ requests: { cpu: '100m' } }, { requests: { cpu: '1', memory: 10 } }]);
    expect(text(podRequests(two))).toEqual({ cpu: '1100m', memory: '10' });
  });

  test('an init container counts alone, with the sidecars before it', () => {
    expect(text(podRequests(pod([cpu('1')], [cpu('3')])))).toEqual({ cpu: '3' });
    expect(text(podRequests(pod([cpu('1')], [cpu('1', true), cpu('3')])))).toEqual({ cpu: '4' });
    expect(text(podRequests(pod([cpu('1')], [cpu('3'), cpu('1', true)])))).toEqual({ cpu: '3' });
    expect(text(podRequests(pod([cpu('3')], [cpu('2'), cpu('1', true)])))).toEqual({ cpu: '4' });
  });

  test('with overhead, and with what the pod itself says instead', () => {
    const own = { overhead: { cpu: '250m' }, resources: { requests: { cpu: '2' } } };
    expect(text(podRequests(pod([{ requests: { cpu: '1', memory: '1' } }], [], own)))).toEqual({
      cpu: '2250m',
      memory: '1',
    });
  });

  test('a limit alone is a request', () => {
    const limited = pod([{ limits: { cpu: '2' } }]);
    expect(text(podRequests(limited))).toEqual({ cpu: '2' });
    expect(text(podLimits(limited))).toEqual({ cpu: '2' });
  });
});

describe('class', () => {
  const all = { cpu: '1', memory: '1Gi' };

  test.for([
    ['BestEffort', [{}]],
    ['BestEffort', [{ requests: { 'ephemeral-storage': '1Gi' } }]],
    ['Guaranteed', [{ limits: all }]],
    ['Guaranteed', [{ limits: all, requests: { cpu: '1000m', memory: '1024Mi' } }]],
    ['Burstable', [{ limits: all }, {}]],
    ['Burstable', [{ limits: { cpu: '1' } }]],
    ['Burstable', [{ requests: all, limits: { cpu: '2', memory: '1Gi' } }]],
  ] as const)('%s: %j', ([name, containers]) => {
    expect(qosClassOf(pod(containers))).toBe(name);
  });

  test('of init containers too', () => {
    expect(qosClassOf(pod([{}], [{ requests: { cpu: '1' } }]))).toBe('Burstable');
  });

  test('of the pod itself where it has resources', () => {
    expect(qosClassOf(pod([{}], [], { resources: { limits: all } }))).toBe('Guaranteed');
  });
});
