/** The soak and the benchmarks leave nothing when they are interrupted, and the next run removes what a killed one left. */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/node-lab.ts';
import { ControlPlane } from './control-plane.ts';

const root = join(import.meta.dirname, '../..');
const programs = {
  soak: ['test/soak/main.ts', '--minutes=5'],
  bench: ['--expose-gc', 'test/bench/main.ts', '--sizes=1000'],
  'bench:upstream': ['test/bench/upstream/main.ts', '--only=memory', '--sizes=50'],
} as const;

type ProgramName = keyof typeof programs;

const startMs = 100_000;
const endMs = 60_000;

function whyBlocked(): string | undefined {
  for (const tool of ['python3', 'nft', 'iptables-legacy', 'iptables-nft'])
    if (spawnSync(tool, ['--version']).error) return `needs ${tool} on the PATH`;
  return ControlPlane.blocked();
}

const blocked = whyBlocked();

describe.skipIf(blocked !== undefined)(
  `programs of the tests that are interrupted${blocked ? ` (${blocked})` : ''}`,
  () => {
    let folder = '';
    let runs: Run[] = [];

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'switchyard-interrupted-'));
    });

    afterEach(async () => {
      for (const run of runs) await run.end('SIGKILL');
      runs = [];
      await rm(folder, { recursive: true, force: true });
    });

    function start(name: ProgramName): Run {
      const run = new Run(name, folder);
      runs.push(run);
      return run;
    }

    it.each([
      ['bench', 'SIGTERM', 'measures', async (run: Run) => run.said.includes('Objects to rules')],
      ['soak', 'SIGTERM', 'starts', async (run: Run) => run.runs('kube-apiserver')],
      ['soak', 'SIGINT', 'churns', async (run: Run) => run.runs('proxy')],
      ['bench:upstream', 'SIGINT', 'measures', async (run: Run) => run.runs('proxy')],
    ] as const)('%s: %s while it %s leaves nothing', async (name, signal, _when, isThere) => {
      const run = start(name);
      await run.until(async () => isThere(run));
      expect(await run.namespaces()).not.toEqual([]);
      expect(await run.end(signal), run.said).toBe(signal === 'SIGINT' ? 130 : 143);
      expect(await run.left()).toEqual({ namespaces: [], processes: [], folders: [] });
    });

    it('what a killed one left goes with the next start, and nothing of one that lives', async () => {
      const killed = start('soak');
      await killed.until(async () => killed.runs('etcd'));
      const living = start('soak');
      await living.until(async () => living.runs('etcd'));
      expect(await killed.namespaces()).not.toEqual([]);
      expect(killed.ended, killed.said).toBe(false);
      await killed.end('SIGKILL');
      const next = start('soak');
      await next.until(async () => next.runs('etcd'));
      expect(await killed.namespaces()).toEqual([]);
      expect(await living.namespaces()).not.toEqual([]);
      expect(living.ended, living.said).toBe(false);
      await living.end('SIGTERM');
      await next.end('SIGTERM');
      expect(await next.left()).toEqual({ namespaces: [], processes: [], folders: [] });
    });
  },
  400_000,
);

/** A program as `npm run` starts it, in a process group of its own; all that it starts has its mark in the environment. */
class Run {
  readonly #mark = randomUUID();
  readonly #child;
  readonly #folder: string;
  readonly #end: Promise<number | null>;
  #said = '';

  constructor(name: ProgramName, folder: string) {
    this.#folder = folder;
    this.#child = spawn(process.execPath, programs[name], {
      cwd: root,
      env: { ...process.env, TMPDIR: folder, SWITCHYARD_TEST_RUN: this.#mark },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#end = new Promise((resolve) => this.#child.once('exit', resolve));
  }

  get said(): string {
    return this.#said;
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async until(condition: () => Promise<boolean>): Promise<void> {
    await eventually(
      async () => ({ isMet: await condition(), hasEnded: this.ended, said: this.#said }),
      ({ isMet, hasEnded }) => isMet || hasEnded,
      startMs,
    );
    expect(this.ended, this.#said).toBe(false);
  }

  /** SIGINT goes to all of its group, as a terminal sends it, others to itself; answers its exit status. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const { pid } = this.#child;
    if (pid !== undefined && !this.ended) process.kill(signal === 'SIGINT' ? -pid : pid, signal);
    await eventually(
      async () => this.ended,
      (hasEnded) => hasEnded,
      endMs,
    );
    return this.#end;
  }

  async namespaces(): Promise<readonly string[]> {
    const names = await readdir('/run/netns').catch(() => []);
    return names.filter((name) => name.includes(`-${this.#child.pid}-`));
  }

  /** Whether it runs a program with this word among its arguments. */
  async runs(word: string): Promise<boolean> {
    return (await this.#processes()).some((line) => line.split(' ').includes(word));
  }

  async left() {
    const folders = await readdir(this.#folder);
    return {
      namespaces: await this.namespaces(),
      processes: await this.#processes(),
      // node's own, of programs that ask for it
      folders: folders.filter((name) => name !== 'node-compile-cache'),
    };
  }

  /** Command lines of what it has started. */
  async #processes(): Promise<readonly string[]> {
    const entries = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
    const lines = entries.map(async (entry) => {
      try {
        const environment = await readFile(join('/proc', entry, 'environ'), 'utf8');
        if (Number(entry) === this.#child.pid || !environment.includes(this.#mark)) return [];
        return (await readFile(join('/proc', entry, 'cmdline'), 'utf8')).replaceAll('\0', ' ');
      } catch {
        return []; // it has ended meanwhile
      }
    });
    return (await Promise.all(lines)).flat();
  }
}
