/** What `switchyard status --output=json` prints, and the agent answers at /v1/status. Fields are added, never taken away; times are ISO 8601. */
export interface StatusDocument {
  readonly version: string;
  readonly pid: number;
  readonly mode: string;
  readonly node: {
    readonly name: string;
    readonly addresses: readonly string[];
    /** Not about to be removed from the cluster. */
    readonly eligible: boolean;
  };
  readonly now: string;
  readonly started: string;
  /** The configuration in force; null: not known. */
  readonly configuration: {
    /** Of its file; '': flags alone. */
    readonly sha256: string;
    readonly since: string;
    /** False where a newer one was refused, or waits for a new agent: the log says why. */
    readonly newest: boolean;
  } | null;
  readonly state: 'starting' | 'healthy' | 'unhealthy';
  /** Why it is not healthy. */
  readonly reasons: readonly string[];
  readonly source: SourceStatus;
  readonly families: readonly FamilyStatus[];
  /** Of userspace mode. */
  readonly relay: { readonly listeners: number; readonly connections: number } | null;
}

/** Where objects come from, and how far that is known. */
export interface SourceStatus {
  /** `kubernetes`, `files` or `url` */
  readonly kind: string;
  /** The API server's address, the paths, or the URL (without a password or a query). */
  readonly where: string;
  readonly lists: readonly ListStatus[];
}

/** One kind of object. */
export interface ListStatus {
  /** `services` */
  readonly name: string;
  /** The first list has come. */
  readonly complete: boolean;
  readonly objects: number;
  /** Why nothing new is heard of, and since when; the objects stay in force. */
  readonly trouble: { readonly reason: string; readonly since: string } | null;
}

/** What is programmed for one IP family. */
export interface FamilyStatus {
  /** `IPv4` */
  readonly family: string;
  /** No change waits for longer than two sync periods. */
  readonly healthy: boolean;
  readonly syncs: number;
  /** null: no rules have been written yet. */
  readonly lastSync: {
    readonly at: string;
    readonly seconds: number;
    readonly full: boolean;
  } | null;
  readonly lastFullSync: string | null;
  /** A change waits since then to be written. */
  readonly pendingSince: string | null;
  /** Why the last sync failed, and since when syncs do. */
  readonly failure: {
    readonly reason: string;
    readonly hint: string | null;
    readonly since: string;
  } | null;
  /** All that have a port here, and those of them whose rules are in as they ask. */
  readonly services: number;
  readonly programmed: number;
  readonly servicePorts: number;
  readonly endpoints: number;
  readonly frontends: number;
  /** In force, by table. */
  readonly rules: Readonly<Record<string, number>>;
  /** Services that are not served as their objects ask, the worst first. */
  readonly unfinished: readonly {
    readonly service: string;
    /** `failed`: the kernel refused it; `pending`: as before its last change; `partial`: not at each address or by each endpoint. */
    readonly state: 'failed' | 'pending' | 'partial';
    /** In a word, for programs. */
    readonly cause: string;
    readonly reason: string;
    readonly since: string;
  }[];
  /** Services without anything to program, with the reason; by name. */
  readonly withoutRules: readonly { readonly service: string; readonly reason: string }[];
  /** Two Services that claim one place, in words. */
  readonly conflicts: readonly string[];
  /** Of ipvs mode: real servers that take no new connection. */
  readonly draining: { readonly servers: number; readonly oldestSeconds: number } | null;
}
