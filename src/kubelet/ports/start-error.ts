import { SwitchyardError } from '../../error.ts';

/**
 * A container that could not be started. `reason` is what the API shows as that of its waiting: `ErrImagePull`,
 * `CreateContainerConfigError` …; `message` goes with it.
 */
export class StartError extends SwitchyardError {
  readonly reason: string;
  /** When it is of use to try again; undefined: as after any other error. */
  readonly retryAtMs: number | undefined;

  constructor(
    reason: string,
    message: string,
    options: { cause?: unknown; retryAtMs?: number } = {},
  ) {
    super('tool', message, { cause: options.cause, retryable: true });
    this.name = 'StartError';
    this.reason = reason;
    this.retryAtMs = options.retryAtMs;
  }
}
