import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NodeRecordFile, recordedSysctls } from '../../../src/host/node-record.ts';
import type { Sysctls } from '../../../src/host/sysctl.ts';
import { silentLog } from '../../../src/telemetry/log.ts';

const identity = { boot: 'b1', network: 'net:[4026531840]' };
const key = 'net/ipv4/conf/all/route_localnet';

describe('the record of what was changed on the node', () => {
  let folder = '';
  let path = '';
  let warnings: string[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'switchyard-record-'));
    path = join(folder, 'run/node.json');
    warnings = [];
  });

  afterEach(async () => {
    await chmod(folder, 0o755);
    await rm(folder, { recursive: true });
  });

  const warn = (_: object, message: string): void => void warnings.push(message);
  const open = (of = identity, at = path): NodeRecordFile => {
    return new NodeRecordFile({ path: at, identity: of, log: { ...silentLog, warn } });
  };

  it('survives the process, and keeps the value before the first change', async () => {
    await open().noteSysctl(key, '0', '1');
    await open().noteSysctl(key, '1', '2');
    await open().noteFirewall('nft');
    await open().noteFirewall('legacy');
    expect(await open().read()).toEqual({
      sysctls: { [key]: { before: '0', set: '2' } },
      firewalls: ['legacy', 'nft'],
    });
    expect(await readdir(join(folder, 'run'))).toEqual(['node.json']);
    expect(warnings).toEqual([]);
  });

  it('goes with its folder, but not with somebody else’s file', async () => {
    await open().noteFirewall('nft');
    await writeFile(join(folder, 'run/other'), '');
    await open().clear();
    expect(await readdir(join(folder, 'run'))).toEqual(['other']);
    await rm(join(folder, 'run/other'));
    await open().noteFirewall('nft');
    await open().clear();
    expect(await readdir(folder)).toEqual([]);
  });

  it('of another boot says nothing, for the kernel has forgotten it', async () => {
    await open().noteFirewall('nft');
    const after = open({ ...identity, boot: 'b2' });
    expect((await after.read()).firewalls).toEqual([]);
    await after.noteSysctl(key, '0', '1');
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ boot: 'b2', firewalls: [] });
    expect(warnings).toEqual([]);
  });

  it('of another network namespace is left aside with a warning', async () => {
    await open().noteFirewall('nft');
    expect((await open({ ...identity, network: 'net:[1]' }).read()).firewalls).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining('another network namespace')]);
  });

  it.each<[string, (record: NodeRecordFile) => Promise<void>]>([
    ['cleared', async (record) => record.clear()],
    ['overwritten', async (record) => record.noteSysctl(key, '0', '1')],
  ])('of another network namespace is not %s', async (_what, change) => {
    await open().noteFirewall('nft');
    const before = await readFile(path, 'utf8');
    await change(open({ ...identity, network: 'net:[1]' }));
    expect(await readFile(path, 'utf8')).toBe(before);
    expect((await open().read()).firewalls).toEqual(['nft']);
  });

  it('of another boot is cleared', async () => {
    await open().noteFirewall('nft');
    await open({ boot: 'b2', network: 'net:[1]' }).clear();
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    ['somebody’s own', 'somebody’s own'],
    ['', undefined],
  ])('that holds %j is %j after a clean-up', async (text, left) => {
    await mkdir(join(folder, 'run'));
    await writeFile(path, text);
    await open().noteFirewall('nft');
    await open().clear();
    expect(await readFile(path, 'utf8').catch(() => undefined)).toBe(left);
  });

  it.each([
    '',
    '{',
    '[]',
    '{"boot":"b1"}',
    '{"boot":"b1","network":"","sysctls":{"a":1},"firewalls":[]}',
  ])('that holds %j is a warning and counts as empty', async (text) => {
    path = join(folder, 'node.json');
    await writeFile(path, text);
    expect(await open().read()).toEqual({ sysctls: {}, firewalls: [] });
    expect(warnings).toEqual([expect.stringMatching(/cannot be read.*holds no record/)]);
  });

  it('that cannot be written is a warning, and what was to be done is done', async () => {
    path = join(folder, 'file/node.json');
    await writeFile(join(folder, 'file'), '');
    const values = new Map([[key, '0']]);
    await recordedSysctls(fakeSysctls(values), open()).write(key, '1');
    expect(values.get(key)).toBe('1');
    expect(warnings).toEqual([expect.stringContaining('cannot be written')]);
  });

  it('is not kept without a path', async () => {
    await open(identity, '').noteFirewall('nft');
    expect(await readdir(folder)).toEqual([]);
  });

  it('notes a setting before it changes, and none that has its value already', async () => {
    const values = new Map([[key, '0']]);
    const order: string[] = [];
    const record = open();
    const sysctls: Sysctls = {
      ...fakeSysctls(values),
      write: async (name, value) => {
        order.push(`${name}=${value} ${JSON.stringify((await open().read()).sysctls)}`);
        values.set(name, value);
        return true;
      },
    };
    const recorded = recordedSysctls(sysctls, record);
    await recorded.write('net/netfilter/absent', '1');
    await recorded.write(key, '0');
    await recorded.write(key, '1');
    expect(order).toEqual([
      'net/netfilter/absent=1 {}',
      `${key}=0 {}`,
      `${key}=1 {"${key}":{"before":"0","set":"1"}}`,
    ]);
  });
});

function fakeSysctls(values: Map<string, string>): Sysctls {
  return {
    read: async (name) => values.get(name),
    write: async (name, value) => {
      values.set(name, value);
      return true;
    },
  };
}
