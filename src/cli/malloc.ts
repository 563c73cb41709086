import process from 'node:process';

/**
 * One arena for all threads, whose free end goes back at once. glibc gives each of ten threads an arena of its own, and from the size of the
 * largest piece that was ever freed (the bundle's text) it concludes that as much is worth keeping.
 */
const settings = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '131072' };

/**
 * Sets the allocator for a process that lives for months and is resident on each node: it reads its environment once, when a process
 * begins, so the program begins again in this very process (the same id, arguments and files). Whoever has set it keeps it.
 * docs/adr/0006-memory.md has the figures.
 */
export function keepNativeHeapSmall(): void {
  const { env, execPath, execArgv, argv, argv0 } = process;
  if (Object.keys(settings).some((name) => env[name] !== undefined)) return;
  const words = [argv0, ...execArgv, ...argv.slice(1)];
  const variables = Object.entries(env).filter(([, value]) => value !== undefined);
  process.execve?.(execPath, words, { ...Object.fromEntries(variables), ...settings });
}
