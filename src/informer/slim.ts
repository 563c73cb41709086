import { errorText } from '../error.ts';
import type { Kind, KubeObject, Slimmed } from './kind.ts';

/** Slims one raw object; a slimmer that throws spoils that object only. */
export function slimSafely<T extends KubeObject>(kind: Kind<T>, raw: unknown): Slimmed<T> {
  try {
    return kind.slim(raw);
  } catch (error) {
    return { object: undefined, problems: [{ field: '', reason: errorText(error) }] };
  }
}
