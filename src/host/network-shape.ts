import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** What of the node's links and routes decides about settings. */
export interface NetworkShape {
  readonly links: readonly string[];
  /** Bridges that have ports. */
  readonly bridges: readonly string[];
  /** Links that have a default route, IPv4. */
  readonly uplinks: readonly string[];
}

/** Reads links and default routes; no tool is needed. */
export async function readNetworkShape(sys = '/sys', proc = '/proc'): Promise<NetworkShape> {
  const folder = join(sys, 'class/net');
  const links = (await readdir(folder).catch((): string[] => [])).toSorted();
  const bridges: string[] = [];
  for (const link of links) {
    const ports = await readdir(join(folder, link, 'brif')).catch(() => []);
    if (ports.length > 0) bridges.push(link);
  }
  const routes = await readFile(join(proc, 'self/net/route'), 'utf8').catch(() => '');
  return { links, bridges, uplinks: defaultLinks(routes) };
}

/** The links of default routes in /proc/net/route. */
function defaultLinks(routes: string): readonly string[] {
  const found = routes.split('\n').flatMap((line) => {
    const [link = '', destination, , , , , , mask] = line.trim().split(/\s+/);
    return destination === '00000000' && mask === '00000000' ? [link] : [];
  });
  return [...new Set(found)].toSorted();
}
