/** A network namespace that nobody else is in: by unshare, and by ip where that is not there. What is done inside leaves nothing. */
import { readdir } from 'node:fs/promises';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { PrivateNetwork } from '../../src/host/private-network.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { findTool } from '../../src/host/tool-path.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const { signal } = new AbortController();
const options = { timeoutMs: 20_000, signal };

const hiding =
  (...hidden: readonly string[]) =>
  async (tool: string): Promise<string | undefined> =>
    hidden.includes(tool) ? undefined : findTool(tool);

async function links(tools: typeof systemTools): Promise<readonly string[]> {
  const { stdout } = await tools.run('ip', ['-o', 'link'], options);
  return [...stdout.matchAll(/^\d+: ([^:@]+)/gm)].map(([, name]) => name ?? '').toSorted();
}

/** Namespaces with a name that begins so: other tests have some of their own. */
async function named(): Promise<readonly string[]> {
  const names = await readdir('/run/netns').catch((): string[] => []);
  return names.filter((name) => name.startsWith(`swydoctor-${process.pid}-`));
}

describe.skipIf(!able)('a private network (needs root: it makes network namespaces)', () => {
  it.each([
    ['unshare', hiding()],
    ['ip', hiding('unshare')],
  ])('by %s has nothing of the machine, and leaves nothing there', async (by, find) => {
    const network = await PrivateNetwork.open(
      { tools: systemTools, isPrivileged: true, find },
      signal,
    );
    try {
      expect(await links(network.tools)).toEqual(['lo']);
      const made = ['link', 'add', 'swyprobe0', 'type', 'veth', 'peer', 'name', 'swyprobe1'];
      expect(await network.tools.run('ip', made, options)).toMatchObject({ exitCode: 0 });
      expect(await links(network.tools)).toEqual(['lo', 'swyprobe0', 'swyprobe1']);
      const lock = await network.tools.run('sh', ['-c', 'echo $XTABLES_LOCKFILE'], options);
      expect(lock.stdout).toBe('/dev/null\n');
      expect(await named()).toHaveLength(by === 'ip' ? 1 : 0);
    } finally {
      await network.close();
    }
    expect(await links(systemTools)).not.toContain('swyprobe0');
    expect(await named()).toEqual([]);
  });

  it('is made for others than root in a user namespace, or refused with the cure', async () => {
    const unprivileged = { tools: systemTools, isPrivileged: false };
    const network = await PrivateNetwork.open(unprivileged, signal).catch(
      (error: unknown) => error,
    );
    const isMade = network instanceof PrivateNetwork;
    const seen = isMade ? { links: await links(network.tools) } : network;
    if (isMade) await network.close();
    expect([
      { links: ['lo'] },
      expect.objectContaining({ code: 'missing', hint: expect.stringContaining('as root') }),
    ]).toContainEqual(seen);
  });

  it('says what is missing: a tool inside, and all that it could be made by', async () => {
    const find = hiding('unshare', 'ip');
    const all = { tools: systemTools, isPrivileged: true, find };
    await expect(PrivateNetwork.open(all, signal)).rejects.toMatchObject({ code: 'missing' });
    const network = await PrivateNetwork.open({ ...all, find: hiding('ipset') }, signal);
    try {
      await expect(network.tools.run('ipset', ['list'], options)).rejects.toMatchObject({
        code: 'missing',
        hint: expect.stringContaining('apt-get install ipset'),
      });
    } finally {
      await network.close();
    }
  });
});
