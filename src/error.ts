/** What went wrong, in a word that logs, metrics and tests can match on. */
export type ErrorCode =
  | 'usage' // flags or configuration the operator gave
  | 'object' // a manifest or API object that cannot be used
  | 'source' // an API server, file or URL that does not answer as it should
  | 'tool' // a program we run failed (iptables-restore, ipset, conntrack …)
  | 'missing' // a tool, permission or kernel feature is not there
  | 'timeout'
  | 'internal';

/**
 * The one error family. `message` names the object, what was expected and what to do;
 * `retryable` says whether the same call may succeed later without anybody acting.
 */
export class SwitchyardError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** What the operator can do about it, one sentence; printed after the message. */
  readonly hint: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; retryable?: boolean; hint?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SwitchyardError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.hint = options.hint;
  }
}

/** The system's word for what was thrown, where it has one: `EADDRINUSE`. */
export function systemCode(thrown: unknown): string | undefined {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Whether a file was not there. */
export function isAbsent(thrown: unknown): boolean {
  const code = systemCode(thrown);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** The text of anything thrown. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The same with its cause: `fetch failed` alone helps nobody. Several addresses that were tried have no message of their own. */
export function causeText(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  if (cause === undefined) return errorText(thrown);
  const isMany = cause instanceof AggregateError && cause.message === '';
  const why = isMany ? cause.errors.map(errorText).join('; ') : errorText(cause);
  return `${errorText(thrown)}: ${why}`;
}
