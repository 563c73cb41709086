import { connect, constants } from 'node:http2';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { errorText } from '../../error.ts';
import type { ProbeOutcome } from './outcome.ts';
import { dialText } from './tcp-probe.ts';
import type { NetworkProbe } from './tcp-probe.ts';
import { withTimeLimit } from './time-limit.ts';

/** Check of grpc.health.v1.Health, whose two messages have one field each: not worth generated code. */
const path = '/grpc.health.v1.Health/Check';
const states = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
const unimplemented = '12';

interface HealthAnswer {
  /** gRPC's code: `0` is OK. */
  readonly code: string;
  readonly message: string;
  readonly state: number;
}

/** Asks the health service (plain HTTP/2); every answer but SERVING is a failure. */
export async function probeGrpc(
  host: string,
  port: number,
  service: string,
  { userAgent, timeoutMs, signal }: NetworkProbe,
): Promise<ProbeOutcome> {
  return withTimeLimit(timeoutMs, signal, async (limited) =>
    askHealth(host, port, service, { userAgent, timeoutMs, signal: limited }),
  );
}

async function askHealth(
  host: string,
  port: number,
  service: string,
  { userAgent, timeoutMs, signal }: NetworkProbe,
): Promise<ProbeOutcome> {
  const place = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const within = `within ${timeoutMs / 1000}s`;
  const session = connect(`http://${place}`);
  session.on('error', () => {});
  let isConnected = false;
  try {
    await once(session, 'connect', { signal });
    isConnected = true;
    const answer = await check(session, { host: place, service, userAgent, signal });
    return judge(answer);
  } catch (error) {
    if (!isConnected) {
      const why = signal.aborted ? 'context deadline exceeded' : dialText(host, port, error);
      const output = `timeout: failed to connect service "${place}" ${within}: ${why}`;
      return { kind: 'failure', output };
    }
    if (signal.aborted) {
      return { kind: 'failure', output: `timeout: health rpc did not complete ${within}` };
    }
    return { kind: 'failure', output: `error: health rpc probe failed: ${errorText(error)}` };
  } finally {
    session.destroy();
  }
}

function judge({ code, message, state }: HealthAnswer): ProbeOutcome {
  if (code === unimplemented) {
    const output =
      'error: this server does not implement the grpc health protocol (grpc.health.v1.Health)';
    return { kind: 'failure', output: `${output}: ${message}` };
  }
  if (code !== '0') {
    return { kind: 'failure', output: `error: health rpc probe failed: ${message} (code ${code})` };
  }
  if (states[state] === 'SERVING') return { kind: 'success', output: 'service healthy' };
  const word = states[state] ?? String(state);
  return { kind: 'failure', output: `service unhealthy (responded with "${word}")` };
}

async function check(
  session: ReturnType<typeof connect>,
  {
    host,
    service,
    userAgent,
    signal,
  }: {
    readonly host: string;
    readonly service: string;
    readonly userAgent: string;
    readonly signal: AbortSignal;
  },
): Promise<HealthAnswer> {
  const stream = session.request(
    {
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      [constants.HTTP2_HEADER_AUTHORITY]: host,
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': userAgent,
    },
    { signal },
  );
  let code: string | undefined;
  let message = '';
  const note = (headers: Readonly<Record<string, unknown>>): void => {
    if (typeof headers['grpc-status'] === 'string') code = headers['grpc-status'];
    if (typeof headers['grpc-message'] === 'string') message = headers['grpc-message'];
    const status = headers[':status'];
    if (typeof status === 'number' && status !== 200) message = `unexpected HTTP status ${status}`;
  };
  stream.on('response', note).on('trailers', note);
  stream.end(frame(service));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return { code: code ?? '2', message, state: stateOf(Buffer.concat(chunks)) };
}

/** Not compressed, four bytes of length, and field 1 where it is not empty. */
function frame(service: string): Buffer {
  const name = Buffer.from(service);
  const field =
    name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(field.length, 1);
  return Buffer.concat([head, field]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}

/** Field 1, an enum; absent is 0. */
function stateOf(body: Buffer): number {
  return body[5] === 0x08 ? (body[6] ?? 0) : 0;
}
