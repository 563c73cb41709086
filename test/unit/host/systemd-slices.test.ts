// What systemd is told of slices, over the message bus.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SystemdSlices } from '../../../src/host/systemd-slices.ts';
import { FakeBus } from '../../support/fake-bus.ts';
import { ownFolder } from '../../support/own-folder.ts';

let folder: string;
let bus: FakeBus;

beforeEach(async () => {
  folder = ownFolder('switchyard-slices');
  bus = new FakeBus();
  await bus.listen(join(folder, 'bus'));
});

afterEach(async () => {
  await bus.close();
  rmSync(folder, { recursive: true, force: true });
});

const slices = (version: 1 | 2 = 2): SystemdSlices =>
  new SystemdSlices(version, join(folder, 'bus'));

const limits = {
  cpuShares: 256n,
  cpuPeriodUs: 100_000n,
  cpuQuotaUs: 33_333n,
  memoryBytes: 64n * 1024n ** 2n,
  pids: 100n,
};
const none = { ...limits, cpuQuotaUs: 0n, memoryBytes: 0n, pids: 0n };
const infinity = 2n ** 64n - 1n;

/** The last call, and the properties of its body that are numbers. */
function last(): { member: string | undefined; signature: string; numbers: object } {
  const { signature = '', body = Buffer.alloc(0) } = bus.given.at(-1) ?? {};
  const numbers: Record<string, bigint> = {};
  // a name and its NUL, the type of a variant with its length before and a NUL after it
  const variant = '\0\u0001t\0';
  const parts = body.toString('latin1').split(variant);
  let at = 0;
  for (const part of parts.slice(0, -1)) {
    at += part.length + variant.length;
    const [name = ''] = /[A-Za-z]+$/.exec(part) ?? [];
    numbers[name] = body.readBigUInt64LE(Math.ceil(at / 8) * 8);
  }
  return { member: bus.calls.at(-1), signature, numbers };
}

describe('a slice', () => {
  it('is begun with its limits, all controllers counting', async () => {
    await slices().start('kubepods-burstable.slice', limits);
    expect(last()).toEqual({
      member: 'StartTransientUnit',
      signature: 'ssa(sv)a(sa(sv))',
      numbers: {
        CPUWeight: 10n,
        CPUQuotaPeriodUSec: 100_000n,
        // systemd counts in hundredths of a CPU
        CPUQuotaPerSecUSec: 340_000n,
        MemoryMax: 67_108_864n,
        TasksMax: 100n,
      },
    });
    const text = bus.given.at(-1)?.body.toString('latin1');
    expect(text).toContain('kubepods-burstable.slice\0');
    for (const name of ['CPU', 'Memory', 'Tasks'])
      expect(text).toContain(`${name}Accounting\0\u0001b\0`);
  });

  it('is begun without any where there are none', async () => {
    await slices().start('kubepods.slice', undefined);
    expect(last()).toMatchObject({ member: 'StartTransientUnit', numbers: {} });
  });

  it('loses the limits that are none any more', async () => {
    await slices().limit('kubepods-podu1.slice', none);
    expect(last()).toMatchObject({
      member: 'SetUnitProperties',
      signature: 'sba(sv)',
      numbers: { CPUQuotaPerSecUSec: infinity, MemoryMax: infinity, TasksMax: infinity },
    });
  });

  it('has the names of version 1 on a machine with that', async () => {
    await slices(1).limit('kubepods-podu1.slice', limits);
    expect(last().numbers).toMatchObject({ CPUShares: 256n, MemoryLimit: 67_108_864n });
  });

  it('is ended by name', async () => {
    await slices().stop('kubepods-podu1.slice');
    expect(last()).toMatchObject({ member: 'StopUnit', signature: 'ss' });
  });
});

describe('a slice that systemd', () => {
  it('has ended and still knows is begun again, with its limits', async () => {
    bus.refuses = 'StartTransientUnit';
    bus.refusal = 'org.freedesktop.systemd1.UnitExists';
    await slices().start('kubepods-podu1.slice', limits);
    expect(bus.calls.filter((each) => each !== 'Hello')).toEqual([
      'StartTransientUnit',
      'StartUnit',
      'SetUnitProperties',
    ]);
    expect(last().numbers).toMatchObject({ MemoryMax: 67_108_864n, TasksMax: 100n });
  });

  it('does not know has ended', async () => {
    bus.refuses = 'StopUnit';
    bus.refusal = 'org.freedesktop.systemd1.NoSuchUnit';
    await slices().stop('kubepods-podu1.slice');
    bus.refusal = 'org.freedesktop.systemd1.TransactionIsDestructive';
    await expect(slices().stop('kubepods-podu1.slice')).rejects.toThrow('TransactionIsDestructive');
  });
});

it('keeps no connection that would keep the process', async () => {
  await slices().stop('a.slice');
  await expect.poll(() => bus.isConnected).toBe(false);
});

it('says what systemd answers', async () => {
  bus.refuses = 'StartTransientUnit';
  await expect(slices().start('a.slice', undefined)).rejects.toThrow(
    'StartTransientUnit was answered with org.freedesktop.DBus.Error.ServiceUnknown',
  );
  await expect.poll(() => bus.isConnected).toBe(false);
});

it('says that there is no bus', async () => {
  const nowhere = new SystemdSlices(2, join(folder, 'nothing'));
  await expect(nowhere.stop('a.slice')).rejects.toThrow('there is no bus');
});
