/** A page for people, as components of Kubernetes have them (KEP-4827, KEP-4828). */
const warning =
  'Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.';

/** What /statusz tells. */
export interface StatusFacts {
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  readonly upMs: number;
  readonly version: string;
  readonly mode: string;
  readonly paths: readonly string[];
}

export function statuszPage({ startedMs, upMs, version, mode, paths }: StatusFacts): string {
  const seconds = Math.floor(upMs / 1000);
  const up = `${Math.floor(seconds / 3600)} hr ${two((seconds / 60) % 60)} min ${two(seconds % 60)} sec`;
  return page('statusz', [
    '',
    `Started: ${new Date(startedMs).toUTCString()}`,
    `Up: ${up}`,
    `Node.js version: ${process.version}`,
    `Binary version: ${version}`,
    `Mode: ${mode}`,
    `Paths: ${paths.join(' ')}`,
  ]);
}

function two(count: number): string {
  return String(Math.floor(count)).padStart(2, '0');
}

/** `lines`: a flag each. */
export function flagzPage(lines: readonly string[]): string {
  return page('flagz', lines);
}

function page(name: string, lines: readonly string[]): string {
  return `\nkube-proxy ${name}\n${warning}\n${lines.join('\n')}\n`;
}
