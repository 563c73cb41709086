// The demo plays to its end in each mode, as root and as root of a user's own namespaces, and leaves nothing behind.
import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const timeout = 150_000;
const able = process.platform === 'linux' && process.getuid?.() === 0;
const program = join(import.meta.dirname, '../../src/cli/main.ts');
const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'unshare', '-Urnm'];
const ownRun = 'mount -t tmpfs run /run && exec "$@"';
const rootOfOwn = ['setpriv', ...asNobody, 'sh', '-c', ownRun, 'demo'];
const hasUserNamespaces =
  able && spawnSync('setpriv', [...rootOfOwn.slice(1), 'true']).status === 0;

let folder = '';

/** Runs the demo to its end: what it said, and its exit status. */
async function perform(mode: string, before: readonly string[] = []) {
  const [command, ...args] = [...before, process.execPath, program, 'demo', `--mode=${mode}`];
  const child = spawn(command, args, {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, said, pid: child.pid ?? 0 };
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-demo-test-'));
  await chmod(folder, 0o777);
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe.skipIf(!able)('the demo (needs root)', () => {
  test.each(['iptables', 'userspace'])(
    'shows --mode=%s, all as it should be',
    { timeout },
    async (mode) => {
      const { status, said, pid } = await perform(mode);
      expect(status, said).toBe(0);
      expect(said).toContain(
        `switchyard proxy --mode=${mode} --source=file:examples: rules in after`,
      );
      expect(said).toContain('All as it should be');
      const left = await readdir('/run/netns').catch(() => []);
      expect(left.filter((name) => name.startsWith(`swydemo-${pid}-`))).toEqual([]);
      expect(await readdir(folder)).toEqual([]);
    },
  );
});

describe.skipIf(!hasUserNamespaces)(
  'the demo of a user without rights (needs user namespaces)',
  () => {
    test('shows --mode=userspace, all as it should be', { timeout }, async () => {
      const { status, said } = await perform('userspace', rootOfOwn);
      expect(status, said).toBe(0);
      expect(said).toContain('All as it should be');
      expect(await readdir(folder)).toEqual([]);
    });
  },
);
