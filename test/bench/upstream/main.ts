// `npm run bench:upstream`: our proxy and upstream's kube-proxy on the same objects of a real API server, in turn, on
// nodes of their own. Prints Markdown tables with ratios and what must be reached; progress goes to stderr.
// usage: npm run bench:upstream [-- --only=start,memory,…] [--sizes=50,10000,30000] [--runs=3] [--cpu-seconds=30]
//          [--start-seconds=120] [--upstream-nft]
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../../src/error.ts';
import { toolPath } from '../../../src/host/tool-path.ts';
import { ControlPlane } from '../../cluster/control-plane.ts';
import { controlPlaneBinary } from '../../cluster/controlplane/build.ts';
import { interruptible } from '../../support/interruptible.ts';
import { ownFolder } from '../../support/own-folder.ts';
import { load, machine, version } from '../machine.ts';
import { printTable } from '../table.ts';
import type { Bench, Part } from './bench.ts';
import { bigPart } from './big.ts';
import { changePart } from './change.ts';
import { connectPart } from './connect.ts';
import { cpuPart } from './cpu.ts';
import { memoryPart } from './memory.ts';
import { restartPart } from './restart.ts';
import { cells, head } from './rows.ts';
import type { Row } from './rows.ts';
import { startPart } from './start.ts';
import { widePart } from './wide.ts';

const parts: Readonly<Record<string, Part>> = {
  start: startPart,
  restart: restartPart,
  memory: memoryPart,
  connect: connectPart,
  change: changePart,
  cpu: cpuPart,
  big: bigPart,
  wide: widePart,
};
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(parts).join(',') },
    sizes: { type: 'string', default: '50,10000,30000' },
    runs: { type: 'string', default: '3' },
    'cpu-seconds': { type: 'string', default: '30' },
    'start-seconds': { type: 'string', default: '120' },
    'upstream-nft': { type: 'boolean', default: false },
  },
});
process.env['PATH'] = toolPath(process.env['PATH']);
await interruptible(async (interrupted) => {
  const folder = ownFolder('switchyard-bench');
  // All that this run writes.
  process.env['TMPDIR'] = folder;
  try {
    await main(folder, interrupted);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

async function main(folder: string, interrupted: AbortSignal): Promise<void> {
  const names = values.only.split(',');
  const unknown = names.filter((name) => parts[name] === undefined);
  const problem =
    unknown.length === 0
      ? ControlPlane.blocked()
      : `no part ${unknown.join(', ')}; there are: ${Object.keys(parts).join(', ')}`;
  if (problem !== undefined) {
    process.stderr.write(`bench:upstream: ${problem}\n`);
    process.exitCode = 1;
    return;
  }
  const bundle = join(folder, 'switchyard.mjs');
  execFileSync(process.execPath, ['scripts/build.ts', bundle]);
  const upstream = version(controlPlaneBinary(), 'kube-proxy', '--version').replace(/^\D+/, '');
  process.stdout.write(`${machine(`upstream's kube-proxy ${upstream}`)}\n`);
  for (const [name, part] of Object.entries(parts)) {
    if (!names.includes(name) || interrupted.aborted) continue;
    await runPart(name, part, bundle, interrupted);
  }
}

/** Runs a part and prints its table, whole or as far as it came. */
async function runPart(
  name: string,
  part: Part,
  bundle: string,
  interrupted: AbortSignal,
): Promise<void> {
  const rows: Row[] = [];
  const began = Date.now();
  const progress = (text: string): void => {
    const seconds = Math.round((Date.now() - began) / 1000);
    process.stderr.write(`[${name} ${seconds} s] ${text}\n`);
  };
  const tooLong = AbortSignal.timeout(part.limitMinutes * 60_000);
  const bench: Bench = {
    bundle,
    sizes: values.sizes.split(',').map(Number),
    runs: Number(values.runs),
    cpuSeconds: Number(values['cpu-seconds']),
    startSeconds: Number(values['start-seconds']),
    upstreamNft: values['upstream-nft'],
    signal: AbortSignal.any([interrupted, tooLong]),
    progress,
    row: (row) => {
      rows.push(row);
      progress(cells(row).join(' | '));
    },
  };
  let failure: string | undefined;
  try {
    await part.run(bench);
  } catch (error) {
    failure = interrupted.aborted
      ? errorText(interrupted.reason)
      : tooLong.aborted
        ? `not done in ${part.limitMinutes} minutes`
        : errorText(error);
    process.exitCode = 1;
  }
  printTable(part.title, head, rows.map(cells));
  if (failure !== undefined) process.stdout.write(`\nFailed: ${failure}\n`);
  progress(`done; load average ${load()}`);
}
