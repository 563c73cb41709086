// `switchyard demo --cluster` as a newcomer runs it: all of it is as it should be, and whether it ends by itself or by Ctrl-C, nothing is left.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { listCgroups } from './cgroups.ts';
import { testCgroup } from './kubelet-process.ts';

const program = join(import.meta.dirname, '../../src/cli/main.ts');

interface Shown {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs it to its end, or until it has printed this: then it gets a SIGINT, as from a terminal. */
async function demo(flags: readonly string[], interruptAt?: RegExp): Promise<Shown> {
  const child = spawn(process.execPath, [program, 'demo', '--cluster', ...flags]);
  let out = '';
  let err = '';
  let isInterrupted = false;
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
    if (isInterrupted || interruptAt?.test(out) !== true) return;
    isInterrupted = true;
    child.kill('SIGINT');
  });
  const status = await new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      resolve(code);
    });
  });
  return { status, out, err };
}

/** Programs of the cluster, wherever they run below this sandbox. */
function programsLeft(): readonly string[] {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const commands = ids.map((id) => {
    try {
      return readFileSync(`/proc/${id}/cmdline`, 'utf8').replaceAll('\0', ' ');
    } catch {
      return ''; // it has just ended
    }
  });
  return commands.filter((command) =>
    /containerd|kube-|etcd|main\.ts node|catatonit -P/.test(command),
  );
}

function expectNothingLeft(): void {
  expect(programsLeft()).toEqual([]);
  expect(listCgroups(testCgroup).filter((path) => path.includes('part-'))).toEqual([]);
}

describe('the demo of a cluster', () => {
  it('brings two nodes, a Deployment and a Service up, and replaces a pod under load', async () => {
    const { status, out, err } = await demo([]);
    expect({ status, err }, out + err).toMatchObject({ status: 0 });
    for (const text of [
      /Kubernetes v\S+, reused from \S+controlplane-/,
      /✓ both Ready after [\d.]+ s/,
      /✓ four pods Ready after [\d.]+ s/,
      /✓ all four pods answer, none fails/,
      /stands in for it, Ready after [\d.]+ s/,
      /✓ \d+ requests meanwhile, not one failed/,
      /All as it should be, in \d+ s; everything is removed again\./,
    ]) {
      expect(out).toMatch(text);
    }
    expectNothingLeft();
  });

  it('ends by Ctrl-C, and leaves nothing either', async () => {
    const { status, out } = await demo(['--keep'], /both Ready/);
    expect(status).toBe(130);
    expect(out).toContain('Interrupted; everything is removed again.');
    expectNothingLeft();
  });
});
