import { goDuration } from './duration.ts';
import { fieldOf } from './flag-table.ts';
import type { FlagTable, FlagValues } from './flag-table.ts';

/** `name=value` of every flag, by name, as /flagz has them: what was said, or the default. */
export function flagLines(table: FlagTable, flags: FlagValues): readonly string[] {
  return table
    .map((flag) => {
      const value = flags.value(fieldOf(flag));
      const isDuration = flag.type === 'duration' && typeof value === 'number';
      return `${flag.name}=${isDuration ? goDuration(value) : withoutPasswords(String(value ?? ''))}`;
    })
    .toSorted();
}

/** Whoever reaches the page reads it: of a URL's name, password and query (`--source`, `--master`) it says only that they are there. */
function withoutPasswords(value: string): string {
  return value
    .replace(/(https?:\/\/)[^/?#\s]*@/gi, '$1…@')
    .replace(/(https?:\/\/[^?\s]*)\?\S+/gi, '$1?…');
}
