// What names of objects and rules hold is shown, and no terminal obeys it.
import { describe, expect, it } from 'vitest';
import { printable } from '../../../src/cli/printable.ts';
import { runCommand } from '../../support/command-run.ts';

describe('what is printed', () => {
  it.each([
    ['\u001B]0;title\u0007', String.raw`\u001b]0;title\u0007`],
    ['a\rb\u009B31m\u007F\0', String.raw`a\u000db\u009b31m\u007f\u0000`],
    ['evil\u202Etxt.exe', String.raw`evil\u202etxt.exe`],
    ['first\n\tsecond → ü 漢 👍', 'first\n\tsecond → ü 漢 👍'],
  ])('%j', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('means the same as JSON', () => {
    const value = { name: 'a\u009B31m\u202E\u001B' };
    expect(JSON.parse(printable(JSON.stringify(value)))).toEqual(value);
  });

  it('holds for each command, and for its mistakes', async () => {
    const dump = [
      '*nat',
      ':PREROUTING ACCEPT [0:0]',
      '-A PREROUTING -m comment --comment "\u001B[2J" -j ACCEPT',
      'COMMIT',
      '',
    ].join('\n');
    const explained = await runCommand(
      ['node', 'switchyard', 'explain', '192.0.2.1', '10.96.0.10:80', '--dump=-'],
      { stdin: dump },
    );
    expect(explained.stdout).toContain(String.raw`"\u001b[2J" -j ACCEPT`);
    const mistaken = await runCommand(['node', 'switchyard', 'no\u001B[2Jne']);
    expect(mistaken.status).toBe(2);
    for (const { stdout, stderr } of [explained, mistaken]) {
      expect(stdout + stderr).not.toContain('\u001B');
    }
  });
});
