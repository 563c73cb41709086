// When the container runtime is well, and in which words it is not.
import { beforeEach, describe, expect, it } from 'vitest';
import { RuntimeHealth } from '../../../../src/kubelet/node/runtime-health.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

let clock: VirtualClock;
let health: RuntimeHealth;
let conditions: readonly object[];
let isAway: boolean;
let version: string;
let handlers: readonly object[];
let features: object | undefined;
let imageFolder: string;
let listedAtMs: number | undefined;
const { signal } = new AbortController();
const well = [
  { type: 'RuntimeReady', status: true, reason: '', message: '' },
  { type: 'NetworkReady', status: true, reason: '', message: '' },
];

beforeEach(() => {
  clock = new VirtualClock();
  conditions = well;
  isAway = false;
  version = 'v1.7.2';
  handlers = [];
  features = undefined;
  imageFolder = '/images';
  listedAtMs = 0;
  const answer = async (value: object): Promise<never> => {
    if (isAway) throw new Error('no such socket');
    return Promise.resolve(value as never);
  };
  health = new RuntimeHealth({
    cri: {
      runtime: {
        status: async () => answer({ status: { conditions }, runtimeHandlers: handlers, features }),
        version: async () => answer({ runtimeName: 'containerd', runtimeVersion: version }),
      },
      images: {
        listImages: async () => answer({ images: [{ id: 'i1' }] }),
        imageFsInfo: async () => {
          if (imageFolder === '') throw new Error('unimplemented');
          return answer({ imageFilesystems: [{ fsId: { mountpoint: imageFolder } }] });
        },
      },
    } as never,
    clock,
    log: silentLog,
    relistedAtMs: () => listedAtMs,
  });
});

describe('a runtime', () => {
  it('is not known to be well before it has said so', async () => {
    expect(health.problems).toEqual(['container runtime status check may not have completed yet']);
    expect(health.networkProblem).toBeDefined();
    await health.ask(signal);
    expect(health.problems).toEqual([]);
    expect(health.networkProblem).toBeUndefined();
    expect(health.version).toBe('containerd://1.7.2');
    expect(health.images).toHaveLength(1);
    expect(health.imageFolder).toBe('/images');
  });

  it('may be replaced by another release', async () => {
    await health.ask(signal);
    expect(health.stopSignals).toBe(false);
    version = '2.4.2';
    await clock.advance(29_999);
    await health.ask(signal);
    expect(health.version).toBe('containerd://1.7.2');
    await clock.advance(1);
    await health.ask(signal);
    expect(health.version).toBe('containerd://2.4.2');
    expect(health.stopSignals).toBe(true);
  });

  it('says what it can do; pods have no user namespaces here, whatever it can', async () => {
    await health.ask(signal);
    expect(health.abilities).toEqual({});
    handlers = [
      { name: '', features: { recursiveReadOnlyMounts: true, userNamespaces: true } },
      { name: 'runc' },
    ];
    features = { supplementalGroupsPolicy: true };
    await health.ask(signal);
    expect(health.abilities).toEqual({
      runtimeHandlers: [
        { name: '', features: { recursiveReadOnlyMounts: true, userNamespaces: false } },
        { name: 'runc', features: { recursiveReadOnlyMounts: false, userNamespaces: false } },
      ],
      features: { supplementalGroupsPolicy: true },
    });
  });

  it('need not say where its images are', async () => {
    imageFolder = '';
    await health.ask(signal);
    expect(health.problems).toEqual([]);
    expect(health.images).toHaveLength(1);
    expect(health.imageFolder).toBeUndefined();
  });

  it('that says nothing for half a minute is down', async () => {
    await health.ask(signal);
    isAway = true;
    await clock.advance(30_000);
    await health.ask(signal);
    expect(health.problems).toEqual([]);
    await clock.advance(1);
    expect(health.problems).toEqual(['container runtime is down']);
    isAway = false;
    await health.ask(signal);
    expect(health.problems).toEqual([]);
  });

  it('says itself what is not ready', async () => {
    const message = 'cni plugin not initialized';
    conditions = [
      well[0] ?? {},
      { type: 'NetworkReady', status: false, reason: 'NetworkPluginNotReady', message },
    ];
    await health.ask(signal);
    const text =
      'container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized';
    expect(health.problems).toEqual([text]);
    expect(health.networkProblem).toBe(text);
  });

  it('whose pods were not listed for three minutes is not healthy', async () => {
    await health.ask(signal);
    await clock.advance(181_000);
    await health.ask(signal);
    expect(health.problems).toEqual([
      'PLEG is not healthy: pleg was last seen active 181s ago; threshold is 3m0s',
    ]);
    listedAtMs = 180_000;
    expect(health.problems).toEqual([]);
  });
});
