import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { architectureOf } from '../../../scripts/image/architecture.ts';
import { faultsOf } from '../../../scripts/image/completeness.ts';
import { readElf, strip } from '../../../scripts/image/elf.ts';
import { layer, Tree } from '../../../scripts/image/tree.ts';
import type { Entry } from '../../../scripts/image/tree.ts';

const here = architectureOf('');
const other = architectureOf(here.name === 'amd64' ? 'arm64' : 'amd64');
/** A small program of this machine, linked with libc. */
const program = readFileSync('/bin/true');
const interpreter = readElf(program).interpreter ?? '';

const file = (path: string, data: Buffer): Entry => ({
  path,
  part: 'p',
  kind: 'file',
  mode: 0o755,
  data,
});
/** It needs nothing: the linker of the dynamic kind is one without libraries. */
const plain = strip(readFileSync(interpreter));
const faults = (entries: readonly Entry[], architecture = here): readonly string[] =>
  faultsOf(new Tree([layer('l', entries, 0)]), architecture);

/** What tells whether the image has all that its programs need, without running one. */
describe('completeness', () => {
  const linker = file(interpreter.slice(1), plain);
  const libc = file(`usr/lib/${here.triplet}/libc.so.6`, plain);

  it('reads what a program needs', () => {
    const elf = readElf(program);
    expect(elf).toMatchObject({ machine: here.elfMachine, needed: ['libc.so.6'] });
    expect(elf.interpreter).toMatch(/^\/lib.*\/ld-linux/);
  });

  it('finds nothing wrong where all is there', () => {
    expect(faults([file('bin/true', program), linker, libc])).toEqual([]);
  });

  it.each([
    ['a library', [linker], 'bin/true needs libc.so.6, which is not there'],
    ['the dynamic linker', [libc], `bin/true needs ${interpreter}, which is not there`],
  ])('names a program and %s that it lacks', (_what, entries, fault) => {
    expect(faults([file('bin/true', program), ...entries])).toEqual([fault]);
  });

  it('names a library that nothing needs, but for modules of iptables', () => {
    const idle = file('usr/lib/libidle.so.1', plain);
    const module = file('usr/lib/x/xtables/libxt_mark.so', plain);
    expect(faults([file('bin/true', program), linker, libc, idle, module])).toEqual([
      'nothing needs usr/lib/libidle.so.1',
    ]);
  });

  it('names programs of another architecture', () => {
    const entries = [file('bin/true', program), linker, libc];
    expect(faults(entries, other)).toContain('bin/true is of another architecture');
  });

  it('names a script without its interpreter, and a link to nowhere', () => {
    const script = file('bin/script', Buffer.from('#!/usr/bin/env node\n'));
    expect(faults([script])).toEqual(['bin/script needs /usr/bin/env, which is not there']);
    const dead: Entry = { path: 'l', part: 'p', kind: 'link', target: 'gone' };
    expect(faults([dead])).toEqual(['l leads nowhere']);
  });
});

describe('a stripped program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-strip-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is smaller, runs, and is not stripped further', () => {
    const whole = readFileSync('/bin/ls');
    const stripped = strip(whole);
    expect(stripped.length).toBeLessThan(whole.length);
    expect(strip(stripped).equals(stripped)).toBe(true);
    expect(readElf(stripped)).toEqual(readElf(whole));
    const path = join(folder, 'ls');
    writeFileSync(path, stripped);
    chmodSync(path, 0o755);
    expect(execFileSync(path, [folder], { encoding: 'utf8' })).toBe('ls\n');
  });
});
