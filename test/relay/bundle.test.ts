import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../../scripts/bundle.ts';
import { RelayProcess, relayProgram } from './relay-process.ts';
import { Stage, listener, ownNetwork } from './stage.ts';

/** Worker threads start from the one file that is shipped, where there is nothing else. */
describe.skipIf(!ownNetwork)('a bundled relay', () => {
  let folder = '';
  let stage: Stage;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-relay-'));
    await bundle(relayProgram, join(folder, 'relay.mjs'));
    stage = new Stage({ workers: 1 });
  });

  afterAll(async () => {
    await stage.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('carries bytes', async () => {
    const relay = new RelayProcess({ program: join(folder, 'relay.mjs'), cwd: folder });
    try {
      const web = listener('web', [await stage.named('bundled')]);
      expect(await relay.open(web)).toEqual([]);
      expect(await stage.ask(web)).toBe('bundled');
      expect(relay.log).toEqual([]);
    } finally {
      await relay.close();
    }
  });
});
