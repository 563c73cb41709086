import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** One request as the API server's audit log has it. */
interface AuditEvent {
  readonly stage: string;
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
  };
  readonly responseStatus?: { readonly code?: number };
}

/** What somebody asked an API server for. */
export interface Asked {
  /** `list services`, `create events.events.k8s.io`: as rights name it. */
  readonly right: string;
  readonly status: number;
}

/** The log of all that an API server is asked for. */
export class Audit {
  readonly #log: string;
  readonly #policy: string;

  /** `folder` is there, and the audit's own. */
  constructor(folder: string) {
    this.#log = join(folder, 'audit.log');
    this.#policy = join(folder, 'audit-policy.json');
    const rules = [{ level: 'Metadata' }];
    const policy = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules };
    writeFileSync(this.#policy, JSON.stringify(policy));
  }

  /** What the API server is started with. */
  get flags(): readonly string[] {
    return [`--audit-policy-file=${this.#policy}`, `--audit-log-path=${this.#log}`];
  }

  /** What a user has asked for so far, with each answer. */
  askedBy(user: string): readonly Asked[] {
    if (!existsSync(this.#log)) return [];
    const lines = readFileSync(this.#log, 'utf8')
      .split('\n')
      .filter((line) => line.endsWith('}'));
    return lines
      .map((line) => JSON.parse(line) as AuditEvent)
      .filter(({ stage, user: { username } }) => username === user && stage !== 'RequestReceived')
      .map((event) => ({ right: rightOf(event), status: event.responseStatus?.code ?? 0 }));
  }
}

function rightOf({ verb, objectRef = {} }: AuditEvent): string {
  const { apiGroup = '', resource = '', subresource } = objectRef;
  const name = [resource, subresource].filter(Boolean).join('/');
  return `${verb} ${[name, apiGroup].filter(Boolean).join('.')}`;
}

/** A rule of a role. */
export interface RoleRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** All that rules grant, as {@link Asked} names it. */
export function grantedBy(rules: readonly RoleRule[]): readonly string[] {
  return rules.flatMap(({ apiGroups, resources, verbs }) =>
    verbs.flatMap((verb) =>
      resources.flatMap((resource) =>
        apiGroups.map((group) => `${verb} ${[resource, group].filter(Boolean).join('.')}`),
      ),
    ),
  );
}
