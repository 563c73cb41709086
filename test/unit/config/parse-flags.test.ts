import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, goDuration, parseDuration } from '../../../src/config/duration.ts';
import type { FlagTable } from '../../../src/config/flag-table.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { SwitchyardError } from '../../../src/error.ts';

const table: FlagTable = [
  { name: 'masquerade-all', short: 'm', type: 'bool', default: false, help: '' },
  { name: 'hardened', type: 'bool', default: true, help: '' },
  { name: 'v', short: 'v', type: 'int', default: 0, field: 'verbosity', help: '' },
  { name: 'sync-period', type: 'duration', default: 30_000, help: '' },
  { name: 'nodeport-addresses', type: 'list', help: '' },
  { name: 'source', type: 'list', whole: true, help: '' },
  { name: 'filename', short: 'f', type: 'list', help: '' },
  { name: 'proxy-mode', aliases: ['mode'], field: 'mode', type: 'string', help: '' },
  { name: 'detect-local-mode', type: 'enum', values: ['NodeCIDR', 'ClusterCIDR'], help: '' },
  { name: 'format', type: 'enum', values: ['', 'json', 'text'], help: '' },
  { name: 'profiling', type: 'bool', help: '', noEffect: 'use --inspect' },
  { name: 'qps', type: 'float', default: 5, help: '', noEffect: 'no limit' },
  { name: 'buffer', type: 'quantity', default: '0', help: '' },
  { name: 'feature-gates', type: 'list', item: 'gate', help: '' },
  { name: 'vmodule', type: 'list', item: 'module', help: '' },
  { name: 'nftables.syncPeriod', type: 'duration', fileOnly: true, help: '' },
];

function failure(...argv: readonly string[]): SwitchyardError {
  try {
    parseFlags(table, argv);
  } catch (error) {
    if (error instanceof SwitchyardError) return error;
  }
  throw new Error(`accepted: ${argv.join(' ')}`);
}

describe('parseFlags', () => {
  it.each<[string, readonly string[], readonly [string, unknown]]>([
    ['a boolean alone is true', ['--masquerade-all'], ['masqueradeAll', true]],
    ['a boolean takes =true', ['--masquerade-all=true'], ['masqueradeAll', true]],
    ['a boolean takes =false', ['--hardened=false'], ['hardened', false]],
    ['a boolean takes =0', ['--hardened=0'], ['hardened', false]],
    ['the last use wins', ['--hardened=false', '--hardened'], ['hardened', true]],
    ['underscores are dashes', ['--masquerade_all'], ['masqueradeAll', true]],
  ])('%s', (_, argv, [field, value]) => {
    expect(parseFlags(table, argv).flags.bool(field)).toBe(value);
  });

  it.each([['-v=2'], ['-v2'], ['-v', '2'], ['--v=2'], ['--v', '2']])(
    'reads verbosity from %s %s',
    (...argv) => {
      expect(parseFlags(table, argv.filter(Boolean)).flags.number('verbosity')).toBe(2);
    },
  );

  it('leaves a word after a boolean alone: it is a positional', () => {
    const parsed = parseFlags(table, ['--masquerade-all', 'false']);
    expect(parsed.flags.bool('masqueradeAll')).toBe(true);
    expect(parsed.positionals).toEqual(['false']);
  });

  it('adds up lists over commas and uses', () => {
    const argv = [
      '--nodeport-addresses=10.0.0.0/8, fd00::/8',
      '--nodeport-addresses',
      '1.2.3.0/24',
    ];
    expect(parseFlags(table, argv).flags.list('nodeportAddresses')).toEqual([
      '10.0.0.0/8',
      'fd00::/8',
      '1.2.3.0/24',
    ]);
  });

  it('does not split a list of whole items at commas', () => {
    const parsed = parseFlags(table, ['--source=http://x/?a=1,2', '--source=file:b']);
    expect(parsed.flags.list('source')).toEqual(['http://x/?a=1,2', 'file:b']);
  });

  it('reads short flags with values attached or apart', () => {
    expect(parseFlags(table, ['-fa', '-f', 'b', '-f=c']).flags.list('filename')).toEqual([
      'a',
      'b',
      'c',
    ]);
  });

  it('reads letters of booleans in one word, the last of which may have a value', () => {
    const { flags } = parseFlags(table, ['-mfa']);
    expect([flags.bool('masqueradeAll'), flags.list('filename')]).toEqual([true, ['a']]);
    expect(parseFlags(table, ['-m=false', '-v2']).flags.bool('masqueradeAll')).toBe(false);
  });

  it('takes everything after -- as positionals', () => {
    expect(parseFlags(table, ['a', '--', '--nope', '-v']).positionals).toEqual([
      'a',
      '--nope',
      '-v',
    ]);
  });

  it('gives defaults, and tells what was given', () => {
    const { flags } = parseFlags(table, ['--mode=ipvs']);
    expect(flags.number('syncPeriod')).toBe(30_000);
    expect(flags.text('mode')).toBe('ipvs');
    expect([flags.given('mode'), flags.given('syncPeriod')]).toEqual([true, false]);
    expect(flags.list('filename')).toEqual([]);
  });

  it('stops reading at --help', () => {
    expect(parseFlags(table, ['--help', '--nope']).help).toBe(true);
    expect(parseFlags(table, ['-h']).help).toBe(true);
  });

  it.each([
    ['0x10', 16],
    ['010', 8],
    ['0b11', 3],
    ['-999', -999],
    ['+5', 5],
    ['2147483647', 2_147_483_647],
  ])('reads the whole number %s as Go does', (text, value) => {
    expect(parseFlags(table, ['--v', text]).flags.number('verbosity')).toBe(value);
  });

  it.each([
    [['--version'], 'short'],
    [['--version=true'], 'short'],
    [['--version=raw'], 'raw'],
    [['--version=false'], undefined],
    [['--mode', '--version'], undefined],
    [['--', '--version'], undefined],
  ])('takes %j for a question after the version: %s', (argv, form) => {
    expect(parseFlags(table, argv).version).toBe(form);
  });

  it('takes the version that upstream could be told to report, with a warning', () => {
    expect(parseFlags(table, ['--version=v1.34.0']).warnings).toEqual([
      "--version=v1.34.0 has no effect: the version that is reported is the program's own",
    ]);
  });

  it('takes gates and modules as lists, whose items have a form', () => {
    const argv = ['--feature-gates=A=true, B=0', '--feature-gates', 'A=F', '--vmodule=a=1,b*=2'];
    const { flags } = parseFlags(table, argv);
    expect(flags.list('featureGates')).toEqual(['A=true', 'B=false', 'A=false']);
    expect(flags.list('vmodule')).toEqual(['a=1', 'b*=2']);
  });

  it('tells of all mistakes at once', () => {
    const error = failure('--masqerade-all', '--v=x', '--zzzzzz', 'word', '--qps=5', '--mode');
    expect(error.message.split('\n')).toEqual([
      'unknown flag --masqerade-all',
      '--v: "x" is not a whole number',
      'unknown flag --zzzzzz',
      '--mode needs a value: a text',
    ]);
    expect(error.hint).toBe('did you mean --masquerade-all?; --help lists the flags');
  });

  it('answers --help whatever else is wrong before it', () => {
    expect(parseFlags(table, ['--zzzzzz', '--help']).help).toBe(true);
  });

  it('does not know a field of the file as a flag', () => {
    expect(failure('--nftables.syncPeriod=1s').message).toBe('unknown flag --nftables.syncPeriod');
  });

  it('does not warn of a flag without effect that asks for what is the case', () => {
    expect(parseFlags(table, ['--qps=5', '--qps=5.0']).warnings).toEqual([]);
  });

  it('warns of flags without effect, once each', () => {
    const { warnings } = parseFlags(table, ['--profiling', '--profiling=false']);
    expect(warnings).toEqual(['--profiling has no effect: use --inspect']);
  });

  it.each<[readonly string[], string, string | undefined]>([
    [['--masqerade-all'], 'unknown flag --masqerade-all', 'did you mean --masquerade-all?'],
    [['--mod=x'], 'unknown flag --mod', 'did you mean --mode?'],
    [['--zzzzzz'], 'unknown flag --zzzzzz', '--help lists the flags'],
    [['-x'], 'unknown flag -x', '--help lists the flags'],
    [
      ['--sync-period=30'],
      '--sync-period: "30" is not a duration such as 30s or 1m30s',
      'did you mean 30s?',
    ],
    [['-vx'], '-v: "x" is not a whole number', undefined],
    [['-v=2147483648'], '-v: "2147483648" is not a whole number', undefined],
    [['-v=1.5'], '-v: "1.5" is not a whole number', undefined],
    [['-proxy-mode=ipvs'], 'unknown flag -proxy-mode=ipvs', 'did you mean --proxy-mode?'],
    [['--qps=fast'], '--qps: "fast" is not a number', undefined],
    [['--buffer=1X'], '--buffer: "1X" is not a quantity such as 512 or 2Ki', undefined],
    [
      ['--feature-gates=A=maybe'],
      '--feature-gates: "A=maybe" is not a list of NAME=true or NAME=false',
      undefined,
    ],
    [
      ['--feature-gates=A'],
      '--feature-gates: "A" is not a list of NAME=true or NAME=false',
      undefined,
    ],
    [['--vmodule=a=b'], '--vmodule: "a=b" is not a list of PATTERN=LEVEL', undefined],
    [['--version=latest'], '--version: "latest" is not true, false or raw', undefined],
    [['--hardened=maybe'], '--hardened: "maybe" is not true or false', undefined],
    [['--sync-period'], '--sync-period needs a value: a duration such as 30s or 1m30s', undefined],
    [
      ['--detect-local-mode=NodeCDIR'],
      '--detect-local-mode: "NodeCDIR" is not one of NodeCIDR, ClusterCIDR',
      'did you mean NodeCIDR?',
    ],
    [['--format=jsn'], '--format: "jsn" is not one of json, text', 'did you mean json?'],
  ])('refuses %j', (argv, message, hint) => {
    const error = failure(...argv);
    expect([error.code, error.message, error.hint]).toEqual(['usage', message, hint]);
  });
});

describe('Go durations', () => {
  it.each([
    ['0', 0],
    ['1m30s', 90_000],
    ['500ms', 500],
    ['1.5h', 5_400_000],
    ['-1s', -1000],
    ['24h0m0s', 86_400_000],
    ['100us', 0.1],
    ['.5s', 500],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '30', 's', '1x', '1m 30s', '--1s', '1.2.3s', '1s1', '2562048h'])(
    '%j is none',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  it.each([
    [0, '0s'],
    [900_000, '15m0s'],
    [86_400_000, '24h0m0s'],
    [5000, '5s'],
    [1500, '1.5s'],
    [61_250, '1m1.25s'],
    [250, '250ms'],
    [0.1, '100\u00b5s'],
    [0.000_005, '5ns'],
    [-1000, '-1s'],
  ])('%d ms are printed as Go prints them', (ms, text) => {
    expect(goDuration(ms)).toBe(text);
    expect(parseDuration(text)).toBeCloseTo(ms, 6);
  });

  it('are read back from what is printed', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e9, max: 1e9 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, 3);
      }),
    );
  });
});
