// The part of `npm run bench:kubelet` that runs in the sandbox (main.ts).
// usage: in-sandbox.ts ONLY PODS PACED SETTLE-SECONDS
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { errorText } from '../../../src/error.ts';
import { endWithStarter } from '../../kubelet/sandbox.ts';
import { printTable } from '../table.ts';
import { ownCells, ownHead } from '../upstream/rows.ts';
import type { Row } from '../upstream/rows.ts';
import { KubeletBench } from './kubelet-bench.ts';
import { burst } from './burst.ts';
import { paced } from './paced.ts';
import { rest } from './rest.ts';

const [only = '', pods, pace, settle] = process.argv.slice(2);
const scale = { pods: Number(pods), paced: Number(pace), settleMs: Number(settle) * 1000 };
const parts = { burst, rest, paced };
const began = performance.now();

endWithStarter();

// As it is shipped: the sources would cost time and memory for what strips their types.
const bundle = join(tmpdir(), 'switchyard.mjs');
execFileSync(process.execPath, ['scripts/build.ts', bundle], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
const bench = new KubeletBench(bundle, progress);
try {
  await bench.start();
  for (const name of only.split(',')) await runPart(name);
} catch (error) {
  process.exitCode = 1;
  process.stdout.write(`\nFailed: ${errorText(error)}\n`);
  process.stderr.write(`${bench.node.tail('kubelet.log', 4000)}\n`);
}
// What was started does not hold this process: all of it ends with the sandbox.
process.exit();

/** Prints a part's table, whole or as far as it came. */
async function runPart(name: string): Promise<void> {
  const part = Object.entries(parts).find(([each]) => each === name)?.[1];
  if (part === undefined)
    throw new Error(`no part ${name}; there are: ${Object.keys(parts).join(', ')}`);
  const rows: Row[] = [];
  const note = (row: Row): void => {
    rows.push(row);
    progress(ownCells(row).join(' | '));
  };
  try {
    await part.run(bench, scale, note);
  } finally {
    printTable(part.title(scale), ownHead, rows.map(ownCells));
  }
}

function progress(text: string): void {
  process.stderr.write(`[${Math.round((performance.now() - began) / 1000)} s] ${text}\n`);
}
