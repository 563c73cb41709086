// Runs a command, or the tests of this folder, in a virtual machine with Debian's kernel (real IPVS and SCTP).
// usage: main.ts test [VITEST ARGUMENT…] | main.ts run COMMAND [ARGUMENT…]
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { execa } from 'execa';
import { ControlPlane } from '../cluster/control-plane.ts';
import { Guest, GuestError } from './guest.ts';
import { cacheFolder, guestKernel } from './guest-kernel.ts';
import { buildInitrd } from './initrd.ts';
import { outsidePlane } from './outside-plane.ts';

const checkout = join(import.meta.dirname, '../..');
/** A machine under load may take long; a guest in which nothing is said has come to a halt. */
const limits = { limitMs: 1_800_000, ...(process.argv[2] === 'test' && { silenceMs: 700_000 }) };
/** Where the guest finds a word outside of it, for the test that it does. */
const outsidePort = 4711;
/** The tests that need a control plane outside. */
const planeTests = 'test/vm/upstream.test.ts';
/** How much longer than here everything may take in the guest. */
const patience = 5;

type Environment = Readonly<Record<string, string>>;

const [how, ...words] = process.argv.slice(2);
/** All tests are shared out to two guests (LongestFirst says how): each has a kernel and a processor of its own. */
const shares = how === 'test' && words.length === 0 ? 2 : 1;
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stopping.abort());
}
process.exitCode = await main();

async function main(): Promise<number> {
  const blocked = whyBlocked();
  if (blocked !== undefined) {
    say(blocked);
    return 1;
  }
  const guests = Array.from({ length: shares }, (_, index) => new Guest(index));
  let plane: ControlPlane | undefined;
  try {
    const kernel = await guestKernel(say);
    const initrd = await buildInitrd(kernel);
    await Promise.all(guests.map(async (guest) => guest.open()));
    const [first] = guests;
    if (first === undefined) throw new Error('no guest');
    if (isPlaneWanted()) plane = await outsidePlane(first, { signal: stopping.signal });
    const commands = how === 'test' ? await testCommands(first.folder) : [words];
    say(`starting Linux ${kernel.release} under qemu …`);
    const ends = await Promise.allSettled(
      guests.map(async (guest, index) => {
        const word = randomBytes(8).toString('hex');
        const environment = {
          ...namedWithPrefix('SWITCHYARD_VM_'),
          ...namedWithPrefix('SWITCHYARD_CONTAINERD'),
          SWITCHYARD_VM: kernel.release,
          SWITCHYARD_VM_OUTSIDE: await guest.serveOutside(outsidePort, word),
          SWITCHYARD_VM_WORD: word,
          ...(plane && { SWITCHYARD_VM_KUBECONFIG: plane.kubeconfig() }),
          ...(process.stdout.isTTY && { FORCE_COLOR: '1' }),
        };
        return guest.run(['env', ...assignments(environment), ...(commands[index] ?? [])], {
          kernel,
          initrd,
          processors: 2 / shares,
          ...limits,
          signal: stopping.signal,
          onOutput: shares === 1 ? (chunk) => process.stdout.write(chunk) : linesOf(index),
        });
      }),
    );
    return Math.max(...ends.map(exitCode));
  } finally {
    await plane?.stop();
    await Promise.all(guests.map(async (guest) => guest.close()));
  }
}

function exitCode(end: PromiseSettledResult<number>): number {
  if (end.status === 'fulfilled') return end.value;
  if (stopping.signal.aborted) return 130;
  const error: unknown = end.reason;
  if (!(error instanceof GuestError)) throw error;
  say(`${error.message}; the last lines of its console:\n${error.console}`);
  return 1;
}

/** Prints whole lines, and whose they are. */
function linesOf(index: number): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    process.stdout.write(lines.map((line) => `${index + 1}: ${line}\n`).join(''));
  };
}

/** Whether tests were chosen that need a control plane; they run by themselves alone, since they take minutes. */
function isPlaneChosen(): boolean {
  return how === 'test' && words.some((word) => planeTests.includes(word));
}

function isPlaneWanted(): boolean {
  if (!isPlaneChosen()) return false;
  const why = ControlPlane.blocked();
  if (why !== undefined) say(`nothing is compared with upstream's kube-proxy: ${why}`);
  return why === undefined;
}

/**
 * The commands that run the tests, one a guest. Whatever can be done once outside is done here, where it costs a tenth: the agent
 * is bundled; vitest collects the tests, which leaves them and itself transformed and compiled in caches that the guest
 * reads. (In the guest, an agent from its sources is up after some 11 s of CPU, a bundle with its code cache after 3.)
 */
async function testCommands(folder: string): Promise<readonly (readonly string[])[]> {
  const bundle = join(folder, 'switchyard.mjs');
  const caches = join(cacheFolder(), 'compiled');
  await mkdir(caches, { recursive: true });
  const environment = { NODE_COMPILE_CACHE: caches, SWITCHYARD_BUNDLE: bundle };
  const vitest = (verb: string): string[] => [
    join(checkout, 'node_modules/vitest/vitest.mjs'),
    verb,
    '--project',
    'vm',
    // To find out that they are skipped would cost seconds in the guest.
    ...(isPlaneChosen() ? [] : [`--exclude=${planeTests}`]),
    ...words,
  ];
  const here = {
    cwd: checkout,
    env: environment,
    stdout: 'ignore',
    stderr: 'inherit',
    cancelSignal: stopping.signal,
  } as const;
  await execa(process.execPath, [join(checkout, 'scripts/build.ts'), bundle], here);
  await execa(process.execPath, [bundle, '--version'], here);
  await execa(process.execPath, vitest('list'), here);
  const guestsOwn = { ...environment, SWITCHYARD_PATIENCE: String(patience) };
  const command = [
    'env',
    ...assignments(guestsOwn),
    process.execPath,
    ...vitest('run'),
    '--reporter=verbose',
  ];
  if (shares === 1) return [command];
  return Array.from({ length: shares }, (_, index) => [
    ...command,
    `--shard=${index + 1}/${shares}`,
  ]);
}

/** What the caller set for the tests of this layer: SWITCHYARD_VM_WHOLE, the release of containerd. */
function namedWithPrefix(prefix: string): Environment {
  const entries = Object.entries(process.env).map(([name, value = '']) => [name, value] as const);
  return Object.fromEntries(entries.filter(([name]) => name.startsWith(prefix)));
}

function assignments(environment: Environment): readonly string[] {
  return Object.entries(environment).map(([name, value]) => `${name}=${value}`);
}

function whyBlocked(): string | undefined {
  if (how !== 'test' && (how !== 'run' || words.length === 0)) {
    return 'usage: npm run test:vm [-- VITEST ARGUMENT…], or npm run vm -- COMMAND [ARGUMENT…]';
  }
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on x86-64';
  if (process.getuid?.() !== 0) return 'needs root: the guest runs in a network namespace';
  return undefined;
}

function say(text: string): void {
  process.stderr.write(`vm: ${text}\n`);
}
