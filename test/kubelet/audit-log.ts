import type { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of an event of `audit.k8s.io/v1` what tests read. */
export interface AuditEvent {
  readonly verb: string;
  readonly stage: string;
  readonly objectRef?: { readonly resource: string };
  readonly user: { readonly extra?: Readonly<Record<string, readonly string[]>> };
}

/** What an API server writes down of who asks it what; {@link flags} are for its start, {@link prepare} comes before. */
export class AuditLog {
  readonly #policy: string;
  readonly #file: string;
  readonly #folder = '/run/sy/audit';

  constructor() {
    this.#policy = join(this.#folder, 'policy.json');
    this.#file = join(this.#folder, 'audit.log');
  }

  get flags(): readonly string[] {
    return [`--audit-policy-file=${this.#policy}`, `--audit-log-path=${this.#file}`];
  }

  /** Requests that a rule matches (`users`, `verbs`) are written down, without their bodies, and no others. */
  prepare(rule: Readonly<Record<string, readonly string[]>>): void {
    mkdirSync(this.#folder, { recursive: true });
    const rules = [{ level: 'Metadata', ...rule }];
    const policy = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules };
    writeFileSync(this.#policy, JSON.stringify(policy));
    writeFileSync(this.#file, '');
  }

  /** All since the start, as they were written; a line that is being written is left out. */
  events(): readonly AuditEvent[] {
    const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as AuditEvent);
  }
}

/** The certificate that a request came with, as {@link auditName} has it; undefined: it came without one. */
export function certificateOf({ user }: AuditEvent): string | undefined {
  return user.extra?.['authentication.kubernetes.io/credential-id']?.[0];
}

/** How an API server writes a client certificate down. */
export function auditName({ fingerprint256 }: X509Certificate): string {
  return `X509SHA256=${fingerprint256.replaceAll(':', '').toLowerCase()}`;
}
