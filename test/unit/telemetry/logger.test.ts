import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Log } from '../../../src/telemetry/log.ts';
import { createLogger } from '../../../src/telemetry/logger.ts';
import type { LoggerOptions } from '../../../src/telemetry/logger.ts';

async function logger(options: Partial<LoggerOptions>): Promise<{ log: Log; lines: string[] }> {
  const lines: string[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  const defaults = { format: 'auto', verbosity: 0, terminal: false } as const;
  return { log: await createLogger({ ...defaults, ...options, destination }), lines };
}

describe('the log', () => {
  it('is one JSON object a line, with the level in words', async () => {
    const { log, lines } = await logger({});
    log.warn({ service: 'default/web' }, 'left out');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'warn',
      service: 'default/web',
      msg: 'left out',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
    });
  });

  it('is text on a terminal, unless JSON is asked for', async () => {
    const text = await logger({ terminal: true });
    text.log.info({ port: 1 }, 'listens');
    const json = await logger({ terminal: true, format: 'json' });
    json.log.info({ port: 1 }, 'listens');
    expect(text.lines.join('')).toContain('listens');
    expect(text.lines.join('')).not.toMatch(/^\{/);
    expect(json.lines.join('')).toMatch(/^\{/);
  });

  it.each([
    [0, false],
    [1, false],
    [2, true],
    [5, true],
  ])('at -v=%i shows debug lines: %s', async (verbosity, shown) => {
    const { log, lines } = await logger({ verbosity });
    log.debug({}, 'detail');
    expect(lines.length > 0).toBe(shown);
  });

  it('tells the cause of an error', async () => {
    const { log, lines } = await logger({});
    log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    expect(lines[0]).toContain('inner');
  });

  it('hides credentials', async () => {
    const { log, lines } = await logger({});
    log.info({ token: 'geheim', request: { authorization: 'Bearer geheim' } }, 'asked');
    expect(lines[0]).not.toContain('geheim');
  });
});
