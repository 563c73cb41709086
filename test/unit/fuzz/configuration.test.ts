// Configuration files whose fields hold anything: each is refused by the fields that are wrong, or what is read is written down and
// read again as the same; nothing else is ever thrown.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { readConfigFile } from '../../../src/config/config-file.ts';
import { configObject } from '../../../src/config/config-object.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { bounded, fuzzTimeoutMs } from './bounds.ts';
import { abyss, oddValues, pathsOf, withValue } from './odd-values.ts';

interface Read {
  readonly config: ProxyConfig;
  readonly whole: object;
}

const { flags } = parseFlags(proxyFlags, []);
const usual = configObject(proxyFlags, flags, proxyConfig(flags));

/** The configuration, or the lines of the refusal. */
function read(text: string): Read | readonly string[] {
  try {
    const file = readConfigFile(text, 'c.yaml', proxyFlags, flags);
    const config = proxyConfig(file.flags);
    return { config, whole: configObject(proxyFlags, file.flags, config) };
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'usage')
      return error.message.split('\n');
    throw error;
  }
}

const isRefusal = (outcome: Read | readonly string[]): outcome is readonly string[] =>
  Array.isArray(outcome);

const values = oddValues.filter((value) => value !== abyss);
const changes = fc.array(fc.tuple(fc.nat(), values), { minLength: 1, maxLength: 2 });

describe('a configuration file of odd values', () => {
  it(
    'is refused by the names of fields, or read as what it is written down as',
    () => {
      const seen = { read: 0, refused: 0 };
      fc.assert(
        fc.property(changes, fc.boolean(), (edits, asJson) => {
          let object: unknown = usual;
          for (const [at, value] of edits) {
            const paths = pathsOf(object);
            object = withValue(object, paths[at % paths.length] ?? [], value);
          }
          const text = asJson ? JSON.stringify(object) : stringify(object, { version: '1.1' });
          const first = read(text);
          seen[isRefusal(first) ? 'refused' : 'read']++;
          const lines = isRefusal(first) ? first : [];
          expect(lines.filter((line) => !/^(?:c\.yaml: |--|\s)/.test(line))).toEqual([]);
          const again = isRefusal(first) ? first : read(stringify(first.whole, { version: '1.1' }));
          expect(again).toEqual(first);
        }),
        bounded(300),
      );
      expect(Math.min(seen.read, seen.refused)).toBeGreaterThan(0);
    },
    fuzzTimeoutMs,
  );
});
