import { describe, expect, it } from 'vitest';

import { diffSets } from '../../../../src/backends/iptables/diff-sets.ts';
import {
  destroySets,
  parseSetList,
  prepareScript,
  prepareSets,
  sameParameters,
} from '../../../../src/backends/iptables/ipsets.ts';
import { staleSets } from '../../../../src/backends/iptables/remains.ts';
import type { SetName } from '../../../../src/backends/iptables/state.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import { ipset, state } from '../../../support/iptables-states.ts';

const listing = `Name: KUBE-AFF-A
Type: hash:ip
Revision: 5
Header: family inet hashsize 1024 maxelem 65536 timeout 10800 bucketsize 12 initval 0x4e520530
Size in memory: 216
References: 1
Number of entries: 0

Name: KUBE-AFF-B
Type: hash:ip
Revision: 5
Header: family inet6 hashsize 1024 maxelem 65536 timeout 5 bucketsize 12 initval 0x4e520530
Size in memory: 216
References: 0
Number of entries: 0

Name: other
Type: hash:net
Header: family inet hashsize 64
`;
const observed = parseSetList(listing);
const create = (...sets: ReturnType<typeof ipset>[]) => diffSets(undefined, state({ sets }).sets);

describe('ipsets', () => {
  it('are read with family and type', () => {
    expect(observed.map(({ name, family, type }) => [name, family, type])).toEqual([
      ['KUBE-AFF-A', 'ipv4', 'hash:ip'],
      ['KUBE-AFF-B', 'ipv6', 'hash:ip'],
      ['other', 'ipv4', 'hash:net'],
    ]);
    expect(parseSetList('')).toEqual([]);
  });

  it.each([
    ['hash:ip family inet timeout 10800', true],
    ['hash:ip timeout 10800', true],
    ['hash:ip family inet timeout 1080', false],
    ['hash:ip family inet6 timeout 10800', false],
    ['hash:net family inet timeout 10800', false],
  ])('have the parameters asked for: %s', (parameters, same) => {
    const [first] = observed;
    expect(first && sameParameters(first, ipset('KUBE-AFF-A', parameters))).toBe(same);
  });

  it('are kept where they exist with the same parameters and are the kernel’s to fill', () => {
    const fit = create(ipset('KUBE-AFF-A', 'hash:ip family inet timeout 10800'));
    expect(prepareScript(fit, observed)).toBe(
      'create -exist KUBE-AFF-A hash:ip family inet timeout 10800\n',
    );
  });

  it('are kept also where the kernel has made their tables larger: their members are all there is', () => {
    const grown = parseSetList(listing.replaceAll('hashsize 1024', 'hashsize 4096'));
    const parameters = 'hash:ip family inet hashsize 1024 timeout 10800';
    expect(prepareScript(create(ipset('KUBE-AFF-A', parameters)), grown)).toBe(
      `create -exist KUBE-AFF-A ${parameters}\n`,
    );
  });

  it('are exchanged while rules use them where parameters or members may differ', () => {
    const other = create(ipset('KUBE-AFF-A', 'hash:ip family inet timeout 60', ['10.0.0.1']));
    expect(prepareScript(other, observed).split('\n')).toEqual([
      'create -exist KUBE-AFF-A-T hash:ip family inet timeout 60',
      'add -exist KUBE-AFF-A-T 10.0.0.1',
      'swap KUBE-AFF-A-T KUBE-AFF-A',
      'destroy KUBE-AFF-A-T',
      '',
    ]);
  });

  it('get nothing of an exchange that an agent did not live to end', () => {
    const left = [...observed, ...parseSetList(listing.replaceAll('KUBE-AFF-A', 'KUBE-AFF-A-T'))];
    const other = create(ipset('KUBE-AFF-A', 'hash:ip family inet timeout 60', ['10.0.0.1']));
    expect(prepareScript(other, left).split('\n').slice(0, 2)).toEqual([
      'destroy KUBE-AFF-A-T',
      'create -exist KUBE-AFF-A-T hash:ip family inet timeout 60',
    ]);
  });

  it('are made but for the one that is refused, which is named', async () => {
    const tools = new FakeToolRunner(({ input }) => {
      const line = input.split('\n').findIndex((each) => each.includes('KUBE-AFF-D'));
      const stderr = `ipset v7.17: Error in line ${line + 1}: Kernel error received: out of memory`;
      return line < 0 ? undefined : { exitCode: 1, stderr };
    });
    const sets = ['C', 'D', 'E'].map((name) => ipset(`KUBE-AFF-${name}`, 'hash:ip family inet'));
    const { signal } = new AbortController();
    await expect(
      prepareSets(tools, create(...sets), observed, silentLog, signal),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/restore failed at "create -exist KUBE-AFF-D .*out of memory/),
      retryable: true,
    });
    expect(tools.inputs('ipset')).toEqual([
      expect.stringContaining('KUBE-AFF-C'),
      'create -exist KUBE-AFF-E hash:ip family inet\n',
    ]);
  });

  it('get the members that the tool had not sent when it met a refused one', async () => {
    const members = new Set<string>();
    const tools = new FakeToolRunner(({ input }) => {
      // what is sent together is lost together where a line of it cannot be read
      const lines = input.trim().split('\n');
      const bad = lines.findIndex((line) => line.includes('nonsense'));
      if (bad === -1) for (const line of lines) members.add(line.split(' ').at(-1) ?? '');
      const stderr = `ipset v7.17: Error in line ${bad + 1}: Syntax error`;
      return bad === -1 ? undefined : { exitCode: 1, stderr };
    });
    const add = ['10.0.0.1', '10.0.0.2', 'nonsense', '10.0.0.3'].map((member) => ({
      set: 'KUBE-A' as SetName,
      member,
    }));
    const changes = { create: [], replace: [], add, remove: [], destroy: [] };
    const { signal } = new AbortController();
    await expect(prepareSets(tools, changes, [], silentLog, signal)).rejects.toThrow(/nonsense/);
    expect([...members]).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  });

  it('are stale where no rule of this family needs them; those of others are left', () => {
    expect(staleSets(observed, state({}))).toEqual(['KUBE-AFF-A']);
    expect(staleSets(observed, state({ family: 'ipv6' }))).toEqual(['KUBE-AFF-B']);
    expect(staleSets(observed, state({ sets: [ipset('KUBE-AFF-A', 'hash:ip')] }))).toEqual([]);
  });

  it('are all destroyed but those in use', async () => {
    const left = new Set(['A', 'B', 'C']);
    const tools = new FakeToolRunner(({ input }) => {
      for (const [index, line] of input.trim().split('\n').entries()) {
        const name = line.replace('destroy ', '');
        if (name === 'B') {
          const stderr = `ipset v7.17: Error in line ${index + 1}: Set cannot be destroyed: it is in use by a kernel component`;
          return { exitCode: 1, stderr };
        }
        left.delete(name);
      }
      return undefined;
    });
    const { signal } = new AbortController();
    const names = ['A', 'B', 'C'] as SetName[];
    expect(await destroySets(tools, names, silentLog, signal)).toEqual(['B']);
    expect([...left]).toEqual(['B']);
  });
});
