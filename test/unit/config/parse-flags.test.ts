import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../../../src/config/duration.ts';
import type { FlagTable } from '../../../src/config/flag-table.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { SwitchyardError } from '../../../src/error.ts';

const table: FlagTable = [
  { name: 'masquerade-all', type: 'bool', default: false, help: '' },
  { name: 'hardened', type: 'bool', default: true, help: '' },
  { name: 'v', short: 'v', type: 'int', default: 0, field: 'verbosity', help: '' },
  { name: 'sync-period', type: 'duration', default: 30_000, help: '' },
  { name: 'nodeport-addresses', type: 'list', help: '' },
  { name: 'source', type: 'list', whole: true, help: '' },
  { name: 'filename', short: 'f', type: 'list', help: '' },
  { name: 'proxy-mode', aliases: ['mode'], field: 'mode', type: 'string', help: '' },
  { name: 'detect-local-mode', type: 'enum', values: ['NodeCIDR', 'ClusterCIDR'], help: '' },
  { name: 'format', type: 'enum', values: ['', 'json', 'text'], help: '' },
  { name: 'strict-arp', type: 'bool', help: '', notYet: 'ipvs mode is not built yet' },
  { name: 'profiling', type: 'bool', help: '', noEffect: 'use --inspect' },
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

  it('lets a flag of later work ask for nothing', () => {
    expect(parseFlags(table, ['--strict-arp=false']).flags.bool('strictArp')).toBe(false);
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
    [['--hardened=maybe'], '--hardened: "maybe" is not true or false', undefined],
    [['--sync-period'], '--sync-period needs a value: a duration such as 30s or 1m30s', undefined],
    [
      ['--detect-local-mode=NodeCDIR'],
      '--detect-local-mode: "NodeCDIR" is not one of NodeCIDR, ClusterCIDR',
      'did you mean NodeCIDR?',
    ],
    [['--format=jsn'], '--format: "jsn" is not one of json, text', 'did you mean json?'],
    [['--strict-arp'], '--strict-arp: ipvs mode is not built yet', undefined],
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

  it.each(['', '30', 's', '1x', '1m 30s', '--1s', '1.2.3s', '1s1'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it('are read back from what is printed', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e9, max: 1e9 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, 3);
      }),
    );
  });
});
