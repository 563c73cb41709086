// Runs vitest, the demo of a cluster, or any command, in a sandbox (sandbox.ts).
// usage: node test/kubelet/main.ts test [VITEST ARGUMENTS] | demo [--keep] | run COMMAND…
import { join } from 'node:path';
import process from 'node:process';
import { outsideTool } from '../support/outside-tools.ts';
import { runClusterDemo } from './demo/start.ts';
import { inSandbox, whyNoSandbox } from './sandbox.ts';

const root = join(import.meta.dirname, '../..');

process.exitCode = await main(process.argv.slice(2));

async function main([what, ...rest]: readonly string[]): Promise<number> {
  if (what === 'demo') return runClusterDemo(rest);
  const blocked = whyNoSandbox();
  if (blocked !== undefined) {
    process.stderr.write(`kubelet tests: ${blocked}\n`);
    return 1;
  }
  if (what === 'test') await fetchKubectl();
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const command =
    what === 'run' ? rest : [process.execPath, vitest, 'run', '--project', 'kubelet', ...rest];
  const { status, cgroupsLeft } = await inSandbox(command);
  if (cgroupsLeft.length === 0) return status;
  process.stderr.write(`kubelet tests: cgroups left behind: ${cgroupsLeft.join(' ')}\n`);
  return 1;
}

/** Inside there is no network to fetch it by; without it the tests that need it are skipped. */
async function fetchKubectl(): Promise<void> {
  const kubectl = await outsideTool('kubectl');
  if ('missing' in kubectl) process.stderr.write(`kubelet tests: ${kubectl.missing}\n`);
}
