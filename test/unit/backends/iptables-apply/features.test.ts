// How features are probed: which tables are written for it.
import { describe, expect, it } from 'vitest';

import { inspectFeatures, probeFeatures } from '../../../../src/backends/iptables/features.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner, legacyTools, noLock } from '../../../support/fake-tool-runner.ts';

const { signal } = new AbortController();

/** A machine whose KUBE-POSTROUTING ends with this; '' where there is none. */
function machine(postrouting: string, refused = 'nothing') {
  const tools = new FakeToolRunner(({ args, input }) => {
    if (input.includes(refused)) return { exitCode: 1, stderr: 'no such thing' };
    if (args.at(-1) !== 'KUBE-POSTROUTING') return undefined;
    return postrouting === ''
      ? { exitCode: 1 }
      : { stdout: `-N KUBE-POSTROUTING\n-A KUBE-POSTROUTING ${postrouting}\n` };
  });
  const writesNat = () => tools.inputs(legacyTools.restore).some((text) => text.includes('*nat'));
  return { port: { tools, iptables: legacyTools, log: silentLog, lockPaths: noLock }, writesNat };
}

const serving = '-m comment --comment "x" -j MASQUERADE --random-fully';

describe('probing features', () => {
  it('does not write nat, which may be large, where a proxy masquerades already', async () => {
    const { port, writesNat } = machine(serving);
    expect(await inspectFeatures(port, signal)).toMatchObject({
      features: { hairpin: 'bpf', affinity: 'ipset', randomFully: true },
      missing: [],
    });
    expect(await probeFeatures(port, signal)).toMatchObject({ kind: 'usable' });
    expect(writesNat()).toBe(false);
  });

  it.each([
    ['there is no chain', ''],
    ['it does so less randomly', '-j MASQUERADE'],
    ['a comment says so', '-m comment --comment " -j MASQUERADE --random-fully" -j RETURN'],
  ])('tries masquerading where %s', async (_what, postrouting) => {
    const { port, writesNat } = machine(postrouting);
    expect((await inspectFeatures(port, signal)).missing).toEqual([]);
    expect(writesNat()).toBe(true);
  });

  it('counts packets where tool and kernel do, and goes on without where they do not', async () => {
    const there = await probeFeatures(machine('').port, signal);
    expect(there).toMatchObject({ features: { nfacct: true, hairpin: 'bpf', affinity: 'ipset' } });
    const refused = await probeFeatures(machine('', '-m nfacct').port, signal);
    expect(refused).toMatchObject({
      kind: 'usable',
      features: { hairpin: 'bpf', randomFully: true },
    });
    expect(refused).not.toHaveProperty('features.nfacct');
    const { port } = machine('');
    const tools = new FakeToolRunner(({ tool }) => (tool === 'nfacct' ? 'missing' : undefined));
    const without = await probeFeatures({ ...port, tools }, signal);
    expect(without).toMatchObject({ kind: 'usable', features: { affinity: 'ipset' } });
    expect(without).not.toHaveProperty('features.nfacct');
    expect(tools.inputs(legacyTools.restore).join('')).not.toContain('nfacct');
  });

  it('names what is missing also where a proxy masquerades', async () => {
    const { port } = machine(serving, '-m bpf');
    const { features, missing } = await inspectFeatures(port, signal);
    expect(features).toMatchObject({ hairpin: 'ipset', randomFully: true });
    expect(missing.map(({ name }) => name)).toEqual(['match bpf']);
  });
});
