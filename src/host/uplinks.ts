import type { ToolRunner } from './run-tool.ts';

/** Names of the links with a default route, those of IPv4 first; none where it cannot be told. */
export async function uplinks(tools: ToolRunner, signal: AbortSignal): Promise<readonly string[]> {
  const found: string[] = [];
  for (const family of ['-4', '-6']) {
    const args = [family, '-j', 'route', 'show', 'default'];
    const { exitCode, stdout } = await tools.run('ip', args, { timeoutMs: 10_000, signal });
    if (exitCode === 0) found.push(...linksOf(stdout));
  }
  return [...new Set(found)];
}

function linksOf(text: string): readonly string[] {
  if (text.trim() === '') return [];
  const routes = JSON.parse(text) as readonly { readonly dev?: string }[];
  return routes.flatMap(({ dev }) => dev ?? []);
}
