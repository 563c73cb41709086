import { systemClock } from '../clock.ts';
import type { SourceConfig } from '../config/proxy-config.ts';
import { SwitchyardError } from '../error.ts';
import type { Kind, KubeObject } from '../informer/kind.ts';
import type { ManifestSet } from '../informer/manifests.ts';
import { openSources } from '../proxy/sources.ts';
import type { ObjectSources } from '../proxy/sources.ts';
import { silentLog } from '../telemetry/log.ts';
import type { Log } from '../telemetry/log.ts';
import { aloneIn } from './agent-process.ts';

/** What a command that looks once needs of its process. */
export interface LookingProcess {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** An agent asks until it is answered; somebody who looks once wants to know why there is no answer. */
const answerWithinMs = 30_000;

/** The objects of a source as they are now. A kind that `mayLack` names (clusters before 1.33 have no ServiceCIDRs) may stay out. */
export async function readSource(
  config: SourceConfig,
  kinds: readonly Kind<KubeObject>[],
  mayLack: readonly Kind<KubeObject>[],
  { env, signal }: LookingProcess,
): Promise<ManifestSet> {
  const heard: string[] = [];
  const tell = (_: object, message: string): void => void heard.push(message);
  const log: Log = { ...silentLog, warn: tell, error: tell };
  const { connect } = aloneIn({ env });
  const sources = await openSources({ config, kinds, connect, clock: systemClock, env, log });
  const late = AbortSignal.timeout(answerWithinMs);
  try {
    const lists = await Promise.all(
      kinds.map(async (kind): Promise<[Kind<KubeObject>, readonly KubeObject[]]> => {
        const stop = AbortSignal.any([signal, late]);
        const found = await firstList(sources, kind, stop, mayLack.includes(kind));
        if (found !== undefined) return [kind, found];
        signal.throwIfAborted();
        throw noAnswer(kind, heard);
      }),
    );
    const byKind = new Map(lists);
    return {
      of: <T extends KubeObject>(kind: Kind<T>) => (byKind.get(kind) ?? []) as readonly T[],
      problems: [],
      ignored: 0,
    };
  } finally {
    await sources.close();
  }
}

/** What a source tells first; undefined where `signal` aborts before. A list that may be missing is waited for a moment. */
async function firstList(
  sources: ObjectSources,
  kind: Kind<KubeObject>,
  signal: AbortSignal,
  mayLack: boolean,
): Promise<readonly KubeObject[] | undefined> {
  const done = new AbortController();
  let found: readonly KubeObject[] | undefined;
  const sink = {
    replace: (objects: readonly KubeObject[]): void => {
      found ??= objects;
      done.abort();
    },
    upsert: (): void => {},
    remove: (): void => {},
  };
  const moment = mayLack ? [AbortSignal.timeout(optionalWithinMs)] : [];
  await sources.source(kind).run(sink, AbortSignal.any([signal, done.signal, ...moment]));
  return found ?? (mayLack && !signal.aborted ? [] : undefined);
}

const optionalWithinMs = 3000;

function noAnswer(kind: Kind<KubeObject>, heard: readonly string[]): SwitchyardError {
  const why = heard.at(-1) ?? `no answer within ${answerWithinMs / 1000} s`;
  return new SwitchyardError('source', `${kind.resource} could not be listed: ${why}`, {
    retryable: true,
    hint: 'name the cluster by --kubeconfig, or read manifests by -f PATH',
  });
}
