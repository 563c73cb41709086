// `npm run bench:ipvs`: our proxy and upstream's kube-proxy in ipvs mode on the same objects of a real API server, in turn,
// on nodes of their own in one virtual machine (test/vm). Prints a Markdown table with ratios and what must be reached.
// usage: npm run bench:ipvs [-- --services=500] [--cpu-seconds=30] [--changes=5] [--only=switchyard]
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ControlPlane, etcdUrl } from '../../cluster/control-plane.ts';
import { interruptible } from '../../support/interruptible.ts';
import { Guest, GuestError } from '../../vm/guest.ts';
import { cacheFolder, guestKernel } from '../../vm/guest-kernel.ts';
import { buildInitrd } from '../../vm/initrd.ts';
import { outsidePlane } from '../../vm/outside-plane.ts';
import { inNamespace } from '../upstream/nodes.ts';

const endpoints = '3';
const limitMs = 1_800_000;
const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '500' },
    'cpu-seconds': { type: 'string', default: '30' },
    changes: { type: 'string', default: '5' },
    /** One side alone. */
    only: { type: 'string', default: '' },
  },
});

await interruptible(async (interrupted) => {
  const problem =
    process.arch === 'x64' ? ControlPlane.blocked() : 'needs Linux on x86-64 for the guest';
  if (problem === undefined) process.exitCode = await main(interrupted);
  else {
    say(problem);
    process.exitCode = 1;
  }
});

async function main(signal: AbortSignal): Promise<number> {
  const guest = new Guest();
  let plane: ControlPlane | undefined;
  try {
    const kernel = await guestKernel(say);
    const initrd = await buildInitrd(kernel);
    await guest.open();
    plane = await outsidePlane(guest, {
      load: async (namespace) => load(namespace, signal),
      signal,
    });
    const bundle = join(guest.folder, 'switchyard.mjs');
    const caches = join(cacheFolder(), 'compiled');
    await mkdir(caches, { recursive: true });
    const environment = {
      NODE_COMPILE_CACHE: caches,
      SWITCHYARD_BUNDLE: bundle,
      SWITCHYARD_VM: kernel.release,
      SWITCHYARD_PATIENCE: '10',
      SWITCHYARD_VM_KUBECONFIG: plane.kubeconfig(),
    };
    const own = { env: { ...process.env, ...environment } };
    execFileSync(process.execPath, ['scripts/build.ts', bundle], own);
    execFileSync(process.execPath, [bundle, '--version'], own);
    const script = join(import.meta.dirname, 'in-guest.ts');
    const numbers = [
      values.services,
      endpoints,
      values['cpu-seconds'],
      values.changes,
      values.only,
    ];
    const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    return await guest.run(['env', ...assignments, process.execPath, script, ...numbers], {
      kernel,
      initrd,
      limitMs,
      signal,
      onOutput: (chunk) => process.stdout.write(chunk),
    });
  } catch (error) {
    if (!(error instanceof GuestError)) throw error;
    say(`${error.message}; the last lines of its console:\n${error.console}`);
    return 1;
  } finally {
    await plane?.stop();
    await guest.close();
  }
}

/** Fills etcd with the services and their endpoints. */
async function load(namespace: string, signal: AbortSignal): Promise<void> {
  const script = join(import.meta.dirname, '../upstream/etcd-load.ts');
  const numbers = [values.services, endpoints];
  await inNamespace(namespace, [process.execPath, script, etcdUrl, ...numbers], signal);
}

function say(text: string): void {
  process.stderr.write(`bench:ipvs: ${text}\n`);
}
