import { Code, ConnectError } from '@connectrpc/connect';
import { SwitchyardError, errorText, systemCode } from '../../error.ts';

/** A call to the container runtime that failed; the message names the call. */
export class CriError extends SwitchyardError {
  /** `StartContainer`. */
  readonly call: string;
  readonly grpcCode: Code;
  /** The runtime's own words. */
  readonly detail: string;

  constructor(call: string, grpcCode: Code, detail: string, cause: unknown) {
    super(kind(grpcCode), `${call}: ${detail}`, { cause, retryable: passes(grpcCode) });
    this.name = 'CriError';
    this.call = call;
    this.grpcCode = grpcCode;
    this.detail = detail;
  }

  /** As events and statuses have it: `rpc error: code = NotFound desc = …`. */
  get rpcText(): string {
    return `rpc error: code = ${Code[this.grpcCode]} desc = ${this.detail}`;
  }
}

/** Whether the runtime knows no such container, sandbox or image. */
export function isNotFound(thrown: unknown): boolean {
  return thrown instanceof CriError && thrown.grpcCode === Code.NotFound;
}

/** Whether no runtime answers at all: it is not started, or starts again. */
export function isUnreachable(thrown: unknown): boolean {
  return thrown instanceof CriError && thrown.grpcCode === Code.Unavailable;
}

/** What a failed call is for the one who made it; an abort of theirs is passed on. */
export function criError(call: string, endpoint: string, thrown: unknown): CriError {
  if (thrown instanceof CriError) return thrown;
  const system = systemWord(thrown);
  if (system !== undefined) {
    const what = `no container runtime answers at ${endpoint} (${system})`;
    return new CriError(call, Code.Unavailable, what, thrown);
  }
  const failure = ConnectError.from(thrown, Code.Internal);
  return new CriError(call, failure.code, failure.rawMessage, thrown);
}

/** The word of a socket that is not there, refuses or broke. */
function systemWord(thrown: unknown): string | undefined {
  for (let at = thrown; at instanceof Error; at = at.cause) {
    const code = systemCode(at);
    if (code !== undefined && broken.has(code)) return code;
  }
  return undefined;
}

const broken = new Set([
  'ENOENT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTSOCK',
  'EACCES',
  'ERR_HTTP2_STREAM_CANCEL',
  'ERR_HTTP2_INVALID_SESSION',
  'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_GOAWAY_SESSION',
]);

function kind(code: Code): 'missing' | 'timeout' | 'tool' {
  if (code === Code.Unavailable) return 'missing';
  return code === Code.DeadlineExceeded ? 'timeout' : 'tool';
}

function passes(code: Code): boolean {
  return code !== Code.InvalidArgument && code !== Code.Unimplemented;
}

/** The text of anything thrown, as events and statuses have it. */
export function criText(thrown: unknown): string {
  return thrown instanceof CriError ? thrown.rpcText : errorText(thrown);
}
