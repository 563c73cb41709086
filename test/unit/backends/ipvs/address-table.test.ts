// The addresses of kube-ipvs0 from one sync to the next: what is known to be there, and what is tried again.
import { beforeEach, describe, expect, it } from 'vitest';
import { AddressTable } from '../../../../src/backends/ipvs/address-table.ts';
import { readDevice } from '../../../../src/backends/ipvs/device.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeIpvsNode } from '../../../support/fake-ipvs-node.ts';
import { smallState, virtualServer } from '../../../support/small-ipvs-states.ts';

const { signal } = new AbortController();
const addressesOf = (...all: readonly string[]) =>
  smallState(all.map((each) => virtualServer('web', `${each}:80`, []))).addresses;
const [one, both] = [addressesOf('10.96.0.1'), addressesOf('10.96.0.1', '10.96.0.2')];

let node: FakeIpvsNode;
let table: AddressTable;

beforeEach(() => {
  node = new FakeIpvsNode();
  const { tools } = node;
  table = new AddressTable({ tools, log: silentLog, isExcluded: () => false });
});

const bound = () => [...(node.device ?? [])];

describe('the addresses of kube-ipvs0', () => {
  it('are known as they were made: one that went is bound again when it comes back', async () => {
    for (const wanted of [both, one, both]) await table.write(wanted, signal);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.2']);
    expect([...(table.bound?.keys() ?? [])]).toEqual(bound());
  });

  it('cost no run where nothing differs', async () => {
    await table.write(both, signal);
    node.takeRuns();
    await table.write(both, signal);
    expect(node.takeRuns()).toEqual([]);
  });

  it('are known to be there still where the kernel would not remove them, which is tried again', async () => {
    await table.write(both, signal);
    node.refuses = (line) => (line.startsWith('address del') ? 'Not permitted' : undefined);
    await table.write(one, signal);
    expect([...(table.bound?.keys() ?? [])]).toEqual(['10.96.0.1', '10.96.0.2']);
    node.refuses = () => undefined;
    await table.write(one, signal);
    expect(bound()).toEqual(['10.96.0.1']);
  });

  it('are bound by themselves where somebody else has them in the prefix of a network, which goes and is told', async () => {
    const told: string[] = [];
    const log = { ...silentLog, warn: (_: object, text: string) => void told.push(text) };
    const { tools } = node;
    node.device = new Set(['10.96.0.1/24', '10.96.0.9/24']);
    table = new AddressTable({ tools, log, isExcluded: () => false });
    table.take(await readDevice('ipv4', tools, signal));
    await table.write(one, signal);
    expect(bound()).toEqual(['10.96.0.1']);
    expect(told).toEqual([
      'somebody else has put 10.96.0.1/24 on kube-ipvs0: it is replaced by the address alone',
      'somebody else has put 10.96.0.9/24 on kube-ipvs0: it is removed',
    ]);
    node.takeRuns();
    await table.write(addressesOf('10.96.0.1'), signal);
    expect(node.takeRuns()).toEqual([]);
  });

  it('are named with their Service where the kernel does not take them', async () => {
    node.refuses = (line) => (line.includes('add 10.96.0.2') ? 'Not permitted' : undefined);
    await table.write(both, signal);
    expect([...table.refused.keys()]).toEqual(['10.96.0.2']);
    expect([...(table.bound?.keys() ?? [])]).toEqual(['10.96.0.1']);
    node.refuses = () => undefined;
    await table.write(both, signal);
    expect(table.refused.size).toBe(0);
    expect(bound()).toEqual(['10.96.0.1', '10.96.0.2']);
  });
});
