import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { systemCode } from '../../error.ts';
import type { ProbeOutcome } from './outcome.ts';
import { withTimeLimit } from './time-limit.ts';

export interface NetworkProbe {
  readonly userAgent: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Whether somebody accepts connections there. */
export async function probeTcp(
  host: string,
  port: number,
  { timeoutMs, signal }: Pick<NetworkProbe, 'timeoutMs' | 'signal'>,
): Promise<ProbeOutcome> {
  try {
    const socket = await withTimeLimit(timeoutMs, signal, async (limited) =>
      dial(host, port, limited),
    );
    socket.destroy();
    return { kind: 'success', output: '' };
  } catch (error) {
    return { kind: 'failure', output: dialText(host, port, error) };
  }
}

async function dial(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.once('connect', () => {
      resolve(socket);
    });
    // Stays: what comes after the connection is nobody's error.
    socket.on('error', reject);
  });
}

const sayings: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'connect: connection timed out',
  ABORT_ERR: 'i/o timeout',
};

/** Why there is no connection, as programs in Go say it: people and tests look for these words. */
export function dialText(host: string, port: number, error: unknown): string {
  const code = systemCode(error) ?? '';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `dial tcp: lookup ${host}: no such host`;
  }
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const text = error instanceof Error ? error.message : String(error);
  return `dial tcp ${place}: ${sayings[code] ?? text}`;
}
