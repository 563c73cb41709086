// Ports are kept from run to run, of both families in one file, and a file that cannot be used stops nobody.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PlaceKeeper } from '../../../../src/backends/userspace/place-keeper.ts';
import { KeptFile } from '../../../../src/host/kept-file.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';

let folder = '';
let warnings: string[] = [];
const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) };
const ports = (entries: Readonly<Record<string, number>>): ReadonlyMap<ListenerKey, number> =>
  new Map(Object.entries(entries) as [ListenerKey, number][]);

function open(name = 'deep/places.json'): PlaceKeeper {
  return new PlaceKeeper(new KeptFile(join(folder, name)), log);
}

describe('the keeper of ports', () => {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'switchyard-keeper-'));
    warnings = [];
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('gives the next run what this one has kept, and of the other family what the last one had', async () => {
    const first = open();
    await first.load();
    await first.keepPorts('ipv4', ports({ 'a cluster ipv4': 20_001 }));
    await first.keepPorts('ipv6', ports({ 'a cluster ipv6': 20_002 }));
    const second = open();
    expect((await second.load()).ports).toEqual(
      ports({ 'a cluster ipv4': 20_001, 'a cluster ipv6': 20_002 }),
    );
    await second.keepPorts('ipv4', ports({ 'b cluster ipv4': 20_003 }));
    expect((await open().load()).ports).toEqual(
      ports({ 'b cluster ipv4': 20_003, 'a cluster ipv6': 20_002 }),
    );
    expect(warnings).toEqual([]);
  });

  it('starts with nothing where the file is spoilt, says so once, and writes it anew', async () => {
    await writeFile(join(folder, 'spoilt'), '{"version":1,"ports":{"a cluster ipv4":0}');
    const keeper = open('spoilt');
    expect((await keeper.load()).ports.size).toBe(0);
    expect(warnings).toEqual([expect.stringContaining('cannot be read')]);
    await keeper.keepPorts('ipv4', ports({ 'a cluster ipv4': 20_001 }));
    expect(await readFile(join(folder, 'spoilt'), 'utf8')).toContain('20001');
  });

  it('goes on where the file cannot be written, and says so once', async () => {
    await writeFile(join(folder, 'file'), '');
    const keeper = open('file/places.json');
    await keeper.load();
    await keeper.keepPorts('ipv4', ports({ 'a cluster ipv4': 20_001 }));
    const [first, ...others] = warnings.splice(0);
    expect(first).toContain('cannot be');
    await keeper.keepPorts('ipv4', ports({ 'a cluster ipv4': 20_002 }));
    expect([...others, ...warnings].filter((text) => text === first)).toEqual([]);
  });

  it('without a file keeps nothing', async () => {
    const keeper = new PlaceKeeper(undefined, log);
    expect((await keeper.load()).ports.size).toBe(0);
    await keeper.keepPorts('ipv4', ports({ 'a cluster ipv4': 20_001 }));
    expect(warnings).toEqual([]);
  });
});
