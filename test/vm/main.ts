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
  const guest = new Guest();
  let plane: ControlPlane | undefined;
  try {
    const kernel = await guestKernel(say);
    const initrd = await buildInitrd(kernel);
    await guest.open();
    if (isPlaneWanted()) plane = await outsidePlane(guest, { signal: stopping.signal });
    const word = randomBytes(8).toString('hex');
    const environment = {
      ...namedWithPrefix('SWITCHYARD_VM_'),
      SWITCHYARD_VM: kernel.release,
      SWITCHYARD_VM_OUTSIDE: await guest.serveOutside(outsidePort, word),
      SWITCHYARD_VM_WORD: word,
      ...(plane && { SWITCHYARD_VM_KUBECONFIG: plane.kubeconfig() }),
      ...(process.stdout.isTTY && { FORCE_COLOR: '1' }),
    };
    const command = how === 'test' ? await testCommand(guest.folder) : words;
    say(`starting Linux ${kernel.release} under qemu …`);
    return await guest.run(['env', ...assignments(environment), ...command], {
      kernel,
      initrd,
      ...limits,
      signal: stopping.signal,
      onOutput: (chunk) => process.stdout.write(chunk),
    });
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    if (!(error instanceof GuestError)) throw error;
    say(`${error.message}; the last lines of its console:\n${error.console}`);
    return 1;
  } finally {
    await plane?.stop();
    await guest.close();
  }
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
 * The command that runs the tests. Whatever can be done once outside is done here, where it costs a tenth: the agent
 * is bundled; vitest collects the tests, which leaves them and itself transformed and compiled in caches that the guest
 * reads. (In the guest, an agent from its sources is up after some 11 s of CPU, a bundle with its code cache after 3.)
 */
async function testCommand(folder: string): Promise<readonly string[]> {
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
  return [
    'env',
    ...assignments(guestsOwn),
    process.execPath,
    ...vitest('run'),
    '--reporter=verbose',
  ];
}

/** What the caller set for the tests of this layer: SWITCHYARD_VM_WHOLE. */
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
