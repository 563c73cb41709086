import { once } from 'node:events';
import { connect } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import { KubeletListener } from '../../../../src/kubelet/server/listener.ts';
import type { ListenerOptions } from '../../../../src/kubelet/server/listener.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { certificates } from '../../informer/certificates.ts';

/** What a port demands of those who connect, before and after its certificate was renewed. */

let listener: KubeletListener | undefined;

afterEach(async () => listener?.stop());

type Guarded = Pick<NonNullable<ListenerOptions['guarded']>, 'minVersion' | 'ciphers'>;

/** Nobody asks anything: TLS is all that is spoken. */
async function listening(tls: Guarded): Promise<KubeletListener> {
  listener = new KubeletListener({
    address: '127.0.0.1',
    port: 0,
    routes: { upgrades: () => false } as never,
    log: silentLog,
    clock: systemClock,
    onRequest: () => {},
    onRefused: () => {},
    guarded: {
      ...tls,
      pair: certificates.first,
      clientCa: certificates.first.cert,
      authentication: {} as never,
      authorization: {} as never,
    },
  });
  await listener.start();
  return listener;
}

/** Whose certificate the server shows, by which cipher; or that it takes nobody so. */
async function shown({ port }: KubeletListener, options: ConnectionOptions): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  try {
    await once(socket, 'secureConnect');
    return `${String(socket.getPeerCertificate().subject.CN)} ${socket.getCipher().name}`;
  } catch {
    return 'refused';
  } finally {
    socket.destroy();
  }
}

test('a least version of TLS outlives a renewed certificate', async () => {
  const server = await listening({ minVersion: 'TLSv1.3', ciphers: [] });
  const old = { maxVersion: 'TLSv1.2' } as const;
  expect(await shown(server, old)).toBe('refused');
  server.renew(certificates.second, certificates.first.cert);
  expect(await shown(server, {})).toMatch(/^second TLS_/);
  expect(await shown(server, old)).toBe('refused');
});

test('the ciphers that are allowed outlive a renewed certificate', async () => {
  const allowed = 'ECDHE-ECDSA-AES128-GCM-SHA256';
  const other = 'ECDHE-ECDSA-AES256-GCM-SHA384';
  const server = await listening({ minVersion: 'TLSv1.2', ciphers: [allowed] });
  const maxVersion = 'TLSv1.2';
  expect(await shown(server, { maxVersion, ciphers: allowed })).toBe(`first ${allowed}`);
  expect(await shown(server, { maxVersion, ciphers: other })).toBe('refused');
  server.renew(certificates.second, undefined);
  expect(await shown(server, { maxVersion, ciphers: allowed })).toBe(`second ${allowed}`);
  expect(await shown(server, { maxVersion, ciphers: other })).toBe('refused');
});
