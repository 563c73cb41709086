// A half of a node that has to wait for the kubeconfig which the other half gets.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { onceThere } from '../../../src/cli/awaited-kubeconfig.ts';
import type { ApiConnection, ApiSettings } from '../../../src/informer/api-connection.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

let folder = '';
let asked: ApiSettings[] = [];
const connection = {} as ApiConnection;
const clock = new VirtualClock();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-awaited-'));
  asked = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const path = (): string => join(folder, 'kubelet.conf');

async function connect(settings: ApiSettings): Promise<ApiConnection> {
  asked.push(settings);
  return connection;
}

function connected(kubeconfig: string, signal = new AbortController().signal): Promise<unknown> {
  return onceThere(connect, path(), clock, signal)({ kubeconfig }, { log: silentLog });
}

test('it connects when the file is there, and not before', async () => {
  const connecting = connected(path());
  await clock.advance(60_000);
  expect(asked).toEqual([]);
  writeFileSync(path(), '');
  while (asked.length === 0) await clock.advance(1000);
  expect(await connecting).toBe(connection);
});

test('a kubeconfig of its own is not waited for', async () => {
  expect(await connected(join(folder, 'proxy.conf'))).toBe(connection);
});

test('a stop ends the waiting', async () => {
  const stop = new AbortController();
  const connecting = connected(path(), stop.signal).catch((error: unknown) => error);
  await clock.advance(1000);
  stop.abort();
  expect(await connecting).toBeInstanceOf(Error);
  expect(asked).toEqual([]);
});
