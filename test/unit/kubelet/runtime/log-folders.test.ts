/** Which folders of logs are this node's, also for the process after this one. */
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { LogFolders } from '../../../../src/kubelet/runtime/log-folders.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { pod } from './made-pods.ts';

let rootDir: string;

beforeEach(() => {
  rootDir = ownFolder('swy-log-folders');
});

afterEach(() => {
  rmSync(rootDir, { recursive: true });
});

function folders(): LogFolders {
  return new LogFolders({ rootDir, podLogsDir: '/var/log/pods' });
}

test('are noted with the pod, and forgotten when they are removed', async () => {
  const first = folders();
  expect(await first.known()).toEqual([]);
  for (const uid of ['u1', 'u2', 'u1']) await first.note(pod({}, { uid, namespace: 'shop' }));
  const known = [
    { uid: 'u1', path: '/var/log/pods/shop_web_u1' },
    { uid: 'u2', path: '/var/log/pods/shop_web_u2' },
  ];
  const second = folders();
  expect(await second.known()).toEqual(known);
  for (const folder of known.slice(0, 1)) await second.forget(folder);
  expect(await second.known()).toEqual(known.slice(1));
  await second.note(pod({}, { uid: 'u1', namespace: 'shop' }));
  expect(await folders().known()).toEqual(known);
});
