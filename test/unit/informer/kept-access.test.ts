// What the API server is reached by stays while the settings cannot be read, and is taken up when they can.
import { beforeEach, expect, test } from 'vitest';
import { ApiAccess } from '../../../src/informer/api-credentials.ts';
import { KeptAccess } from '../../../src/informer/kept-access.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ManualClock } from './widgets.ts';

let isReadable = true;
let access: KeptAccess;

beforeEach(() => {
  isReadable = true;
  access = new KeptAccess(load, { log: silentLog, clock: new ManualClock() });
});

/** The server is named after who is known to it. */
function load(clientFile = 'kubeconfig'): ApiAccess {
  if (!isReadable) throw new Error('EACCES');
  const server = `https://${clientFile}`;
  const credentials = { headers: {}, tls: {} };
  return new ApiAccess({ server, proxyUrl: undefined, credentials }, { impersonation: {} });
}

test('a client file that could not be taken up is taken up when it is said again', async () => {
  isReadable = false;
  await access.useClientFile('own.pem');
  expect(access.server).toBe('https://kubeconfig');
  isReadable = true;
  await access.useClientFile('own.pem');
  expect(access.server).toBe('https://own.pem');
});

test('and stays when it could not be given up, also when all is read anew', async () => {
  await access.useClientFile('own.pem');
  isReadable = false;
  await access.useClientFile(undefined);
  isReadable = true;
  await access.reload();
  expect(access.server).toBe('https://own.pem');
  await access.useClientFile(undefined);
  expect(access.server).toBe('https://kubeconfig');
});
