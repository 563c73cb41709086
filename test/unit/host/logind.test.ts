// How a shutdown of the machine is heard of and held back: what goes over the message bus, and whom it believes.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test, vi } from 'vitest';
import { decodeMessage, encodeCall } from '../../../src/host/dbus-message.ts';
import { Logind } from '../../../src/host/logind.ts';
import { FakeBus } from '../../support/fake-bus.ts';
import { ownFolder } from '../../support/own-folder.ts';

let folder: string;
let bus: FakeBus;
let stop: AbortController;

beforeEach(async () => {
  folder = ownFolder('switchyard-bus');
  bus = new FakeBus();
  stop = new AbortController();
  await bus.listen(join(folder, 'bus'));
});

afterEach(async () => {
  stop.abort();
  await bus.close();
  rmSync(folder, { recursive: true, force: true });
});

function logind(): Logind {
  return new Logind({
    busPath: join(folder, 'bus'),
    configFolder: join(folder, 'conf'),
    inhibit: ['env'],
  });
}

describe('a shutdown', () => {
  it('is heard of when it begins and when it is called off', async () => {
    const heard: boolean[] = [];
    await logind().follow((begins) => void heard.push(begins), stop.signal);
    bus.prepareForShutdown(true);
    await vi.waitFor(() => expect(heard).toEqual([false, true]));
    bus.prepareForShutdown(false);
    await vi.waitFor(() => expect(heard).toEqual([false, true, false]));
    expect(bus.calls.slice(0, 4)).toEqual(['Hello', 'AddMatch', 'Get', 'Get']);
  });

  it('that has begun before is heard of at once, and so is one that was called off meanwhile', async () => {
    const heard: boolean[] = [];
    const of = logind();
    bus.isPreparing = true;
    const { lost } = await of.follow((begins) => void heard.push(begins), stop.signal);
    expect(heard).toEqual([true]);
    bus.drop();
    await lost;
    bus.isPreparing = false;
    await of.follow((begins) => void heard.push(begins), stop.signal);
    expect(heard).toEqual([true, false]);
  });

  it('that another user of the bus tells of is none', async () => {
    const heard: boolean[] = [];
    await logind().follow((begins) => void heard.push(begins), stop.signal);
    bus.prepareForShutdown(true, ':1.66');
    bus.prepareForShutdown(false);
    await vi.waitFor(() => expect(heard).toEqual([false, false]));
  });

  it('is heard of whatever size of messages other users of the bus send', async () => {
    const heard: boolean[] = [];
    const following = logind();
    await following.follow((begins) => void heard.push(begins), stop.signal);
    bus.say(1024 ** 2);
    bus.say(3 * 1024 ** 2 + 5);
    bus.prepareForShutdown(true);
    await vi.waitFor(() => expect(heard).toEqual([false, true]));
    expect(await following.allow(5000)).toBe(5000);
  });

  it('is not heard of any more where the bus goes', async () => {
    const { lost } = await logind().follow(() => {}, stop.signal);
    bus.drop();
    await expect(lost).resolves.toBeUndefined();
  });

  it('is not heard of where there is no bus, or no logind on it', async () => {
    bus.hasLogind = false;
    await expect(logind().follow(() => {}, stop.signal)).rejects.toThrow('ServiceUnknown');
    const nowhere = new Logind({ busPath: join(folder, 'nothing') });
    await expect(nowhere.follow(() => {}, stop.signal)).rejects.toThrow('there is no bus');
  });

  it('is held back until it is released, or whoever holds it back ends', async () => {
    const held = await logind().hold();
    const open = Symbol('open');
    expect(await Promise.race([held.ended, Promise.resolve(open)])).toBe(open);
    await held.release();
    expect(await Promise.race([held.ended, Promise.resolve(open)])).toBeUndefined();
  });

  it('cannot be held back where systemd does not let us', async () => {
    const refused = new Logind({ inhibit: ['sh', '-c', 'echo no logind >&2; exit 1', '--'] });
    await expect(refused.hold()).rejects.toThrow('a shutdown cannot be held back: no logind');
    const missing = new Logind({ inhibit: ['/no/such/program'] });
    await expect(missing.hold()).rejects.toThrow('ENOENT');
  });
});

describe('the time for which it can be held back', () => {
  it('is left alone where it is enough', async () => {
    const of = logind();
    await of.follow(() => {}, stop.signal);
    expect(await of.allow(5000)).toBe(5000);
    expect(existsSync(join(folder, 'conf'))).toBe(false);
  });

  it('is raised by a file of logind that it is told to read', async () => {
    bus.delayNextMs = 30_000n;
    const of = logind();
    await of.follow(() => {}, stop.signal);
    expect(await of.allow(29_500)).toBe(30_000);
    const text = readFileSync(join(folder, 'conf/99-kubelet.conf'), 'utf8');
    expect(text).toContain('[Login]\nInhibitDelayMaxSec=30\n');
    expect(bus.calls.slice(-3)).toEqual(['Get', 'KillUnit', 'Get']);
  });
});

test('a call is laid out as D-Bus has it', () => {
  const call = encodeCall(
    { destination: 'a.b', path: '/c', interface: 'd.e', member: 'F', arguments: ['g', 1] },
    7,
  );
  // little endian, a call, version 1; bytes of the body, serial, bytes of the fields
  const head = '6c0100010c0000000700000048000000';
  const fields = [
    '01016f00020000002f63000000000000',
    '0201730003000000642e650000000000',
    '03017300010000004600000000000000',
    '0601730003000000612e620000000000',
    '0801670002736900',
  ];
  const body = '010000006700000001000000';
  expect(call.toString('hex')).toBe([head, ...fields, body].join(''));
});

test('what is no message, or larger than any may be, is refused; a part of one is waited for', () => {
  expect(() => decodeMessage(Buffer.alloc(16))).toThrow('no message');
  const large = Buffer.from('6c040001ffffff7f0100000000000000', 'hex');
  expect(() => decodeMessage(large)).toThrow('bytes');
  const call = encodeCall({ destination: 'a.b', path: '/c', interface: 'd.e', member: 'F' }, 1);
  for (let size = 0; size < call.length; size += 1)
    expect(decodeMessage(call.subarray(0, size))).toBeUndefined();
  expect(decodeMessage(call)?.message).toMatchObject({ kind: 'call', path: '/c', member: 'F' });
});

test('a message that is larger than anything that is asked for is passed over, whole or in parts', () => {
  const call = encodeCall({ destination: 'a.b', path: '/c', interface: 'd.e', member: 'F' }, 1);
  // no fields, and a body of 2 MiB
  const head = Buffer.from('6c040001000020000100000000000000', 'hex');
  const large = Buffer.concat([head, Buffer.alloc(2 * 1024 ** 2)]);
  expect(decodeMessage(Buffer.concat([large, call]))).toEqual({
    message: undefined,
    rest: call,
    skipBytes: 0,
  });
  expect(decodeMessage(large.subarray(0, 100))).toMatchObject({
    message: undefined,
    skipBytes: large.length - 100,
  });
});
