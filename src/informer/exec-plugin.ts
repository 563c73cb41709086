import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';

/** A program to run. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  /** All of its environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Its standard input; nothing unless given. */
  readonly input?: string;
  /** It and what it started are killed after this time. */
  readonly timeoutMs: number;
}

/** Runs a program to its end and gives its standard output; rejects where it fails, or says more than a megabyte. `signal` ends it. */
export type RunProgram = (program: Program, clock: Clock, signal: AbortSignal) => Promise<string>;

/** A credential plugin, as a kubeconfig describes it. */
export interface ExecPluginOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the kubeconfig says to those who lack it; '' where it says nothing. */
  readonly installHint: string;
  readonly clock: Clock;
  readonly run: RunProgram;
}

/** What a plugin gave. */
export interface ExecStatus {
  readonly token?: string;
  readonly clientCertificateData?: string;
  readonly clientKeyData?: string;
}

/** Plugins ask identity providers and may be slow; one that is slower than this hangs. */
const LONGEST_RUN_MS = 45_000;

/** Runs a credential plugin, and remembers what it gave for as long as that is valid. */
export class ExecPlugin {
  readonly #options: ExecPluginOptions;
  #last: { readonly status: ExecStatus; readonly untilMs: number } | undefined;

  constructor(options: ExecPluginOptions) {
    this.#options = options;
  }

  /** Throws a retryable `source` error that names the plugin; `signal` ends it. */
  async status(signal: AbortSignal): Promise<ExecStatus> {
    const nowMs = this.#options.clock.now();
    if (this.#last !== undefined && this.#last.untilMs > nowMs) return this.#last.status;
    try {
      const { status, expires } = parseCredential(await this.#run(signal));
      this.#last = { status, untilMs: expires };
      return status;
    } catch (error) {
      const { command, installHint } = this.#options;
      const hint = installHint.trim() === '' ? '' : `. ${installHint.trim()}`;
      const message = `credential plugin ${command}: ${errorText(error)}${hint}`;
      throw new SwitchyardError('source', message, { cause: error, retryable: true });
    }
  }

  async #run(signal: AbortSignal): Promise<string> {
    const { command, args, env, clock, run } = this.#options;
    return run({ command, args, env, timeoutMs: LONGEST_RUN_MS }, clock, signal);
  }
}

function parseCredential(text: string): { readonly status: ExecStatus; readonly expires: number } {
  const expected = 'expected an ExecCredential with a token or a client certificate in its status';
  let credential: unknown;
  try {
    credential = JSON.parse(text);
  } catch {
    throw new Error(`printed no JSON; ${expected}`);
  }
  const status = fields(fields(credential)['status']);
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = status;
  if (typeof token !== 'string' && typeof clientCertificateData !== 'string') {
    throw new Error(`printed JSON without credentials; ${expected}`);
  }
  const date = typeof expirationTimestamp === 'string' ? Date.parse(expirationTimestamp) : NaN;
  return {
    status: {
      ...(typeof token === 'string' ? { token } : {}),
      ...(typeof clientCertificateData === 'string' ? { clientCertificateData } : {}),
      ...(typeof clientKeyData === 'string' ? { clientKeyData } : {}),
    },
    expires: Number.isNaN(date) ? Infinity : date,
  };
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
