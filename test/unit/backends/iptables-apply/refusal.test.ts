import { describe, expect, it } from 'vitest';

import {
  isLockFailure,
  lockError,
  readRefusal,
  refusalError,
} from '../../../../src/backends/iptables/apply.ts';
import { originOf } from '../../../support/iptables-states.ts';

const text = '*nat\n:KUBE-A - [0:0]\n-A KUBE-A -j REJECT\nCOMMIT\n';
const batch = { text, origins: [undefined, undefined, originOf('web'), undefined] };

describe('what a tool says of a batch', () => {
  it.each([
    {
      who: 'legacy, parsing',
      exitCode: 2,
      stderr:
        "iptables-restore v1.8.9 (legacy): Couldn't load match `x':No such file or directory\n\nError occurred at line: 3\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n",
      words: "Couldn't load match `x':No such file or directory",
      rule: '-A KUBE-A -j REJECT',
    },
    {
      who: 'nft, kernel',
      exitCode: 4,
      stderr:
        'iptables-nft-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (Invalid argument): rule in chain KUBE-A\n',
      words: 'line 3: RULE_APPEND failed (Invalid argument): rule in chain KUBE-A',
      rule: '-A KUBE-A -j REJECT',
    },
    {
      who: 'legacy, kernel: only the COMMIT is named',
      exitCode: 1,
      stderr: 'iptables-restore: line 4 failed\n',
      words: 'iptables-restore: line 4 failed',
      rule: undefined,
    },
    { who: 'nothing', exitCode: 1, stderr: '', words: 'exit code 1', rule: undefined },
  ])('reads words and rule ($who)', ({ exitCode, stderr, words, rule }) => {
    const refusal = readRefusal({ exitCode, stderr }, batch);
    expect(refusal).toMatchObject({ words, rule });
    expect(refusal.origin?.name).toBe(rule === undefined ? undefined : 'default/web');
  });

  it('names rule and service in the error', () => {
    const stderr = 'line 3: RULE_APPEND failed (Invalid argument): rule in chain KUBE-A\n';
    const error = refusalError('iptables-nft-restore', readRefusal({ exitCode: 4, stderr }, batch));
    expect(error.message).toMatch(/line 3, rule "-A KUBE-A -j REJECT", for default\/web:/);
    expect(error).toMatchObject({ code: 'tool', retryable: true });
  });

  it.each([
    [4, 'Another app is currently holding the xtables lock. Stopped waiting after 5s.', true],
    [4, "Can't lock /run/xtables.lock: Resource temporarily unavailable", true],
    [4, "Fatal: can't open lock file /run/xtables.lock: Read-only file system", true],
    [4, 'line 3: RULE_APPEND failed (Invalid argument): rule in chain KUBE-A', false],
    [1, 'iptables-restore: line 4 failed', false],
  ])('tells a missing lock from a refusal: exit code %i, "%s"', (exitCode, stderr, locked) => {
    expect(isLockFailure({ exitCode, stderr })).toBe(locked);
  });

  it('names the cure where the lock file cannot be opened, and blames no other program', async () => {
    const stderr = "Fatal: can't open lock file /run/xtables.lock: Read-only file system\n";
    const result = { exitCode: 4, stdout: '', stderr, durationMs: 1 };
    const lockPaths = { lockFile: '/run/xtables.lock', proc: '/nowhere' };
    expect(await lockError({ lockPaths }, 'iptables-legacy-restore', result)).toMatchObject({
      message: `iptables-legacy-restore cannot take its lock: ${stderr.trim()}`,
      retryable: true,
      hint: expect.stringMatching(/make \/run\/xtables\.lock writable/),
    });
  });
});
