import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import {
  buildControlPlane,
  controlPlaneBinary,
  controlPlaneVersion,
} from '../../cluster/controlplane/build.ts';
import { outsideTool } from '../../support/outside-tools.ts';
import { inSandbox, whyNoSandbox } from '../sandbox.ts';

const root = join(import.meta.dirname, '../../..');

/**
 * `npm run demo -- --cluster`: sees to what it needs (packages, the control plane, kubectl), then plays main.ts in a sandbox and removes
 * that. Gives the exit status; what is lacking is said with its cure before minutes are spent on anything.
 */
export async function runClusterDemo(args: readonly string[]): Promise<number> {
  const began = performance.now();
  const ready = makeReady();
  if ('lacks' in ready) {
    const elsewhere = 'without a cluster, anywhere: npm run -s switchyard -- render -f examples/';
    process.stderr.write(
      `error: the demo of a cluster cannot run here: ${ready.lacks}\nhint: ${elsewhere}\n`,
    );
    return 1;
  }
  const kubectl = await outsideTool('kubectl');
  const inner = join(import.meta.dirname, 'main.ts');
  const facts = [
    `--control-plane=Kubernetes ${controlPlaneVersion}, ${ready.controlPlane}`,
    'path' in kubectl ? `--kubectl=${kubectl.path}` : `--no-kubectl=${kubectl.missing}`,
  ];
  const end = await inSandbox([process.execPath, inner, ...facts, ...args], { apart: true });
  if (end.cgroupsLeft.length > 0) {
    process.stderr.write(`error: cgroups left behind: ${end.cgroupsLeft.join(' ')}\n`);
    return 1;
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  if (end.interrupted) {
    process.stdout.write('\nInterrupted; everything is removed again.\n');
    return 130;
  }
  if (end.status === 0) {
    process.stdout.write(`\nAll as it should be, in ${seconds} s; everything is removed again.\n`);
  }
  return end.status;
}

/** Installs and builds what is not there. */
function makeReady(): { readonly controlPlane: string } | { readonly lacks: string } {
  if (process.platform === 'linux' && process.getuid?.() === 0) {
    const setup = join(root, 'scripts/setup.mjs');
    spawnSync(process.execPath, [setup, '--kubelet'], { stdio: 'inherit' });
  }
  const noSandbox = whyNoSandbox();
  if (noSandbox !== undefined) return { lacks: noSandbox };
  const binary = controlPlaneBinary();
  if (existsSync(binary)) return { controlPlane: `reused from ${binary}` };
  const began = performance.now();
  const problem = buildControlPlane(binary);
  if (problem !== undefined) return { lacks: `${problem}; install Go (https://go.dev/dl)` };
  const minutes = ((performance.now() - began) / 60_000).toFixed(1);
  return { controlPlane: `built in ${minutes} min, and kept as ${binary}` };
}
