import { BlockList, isIP } from 'node:net';

import { SwitchyardError } from '../error.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that HTTPS_PROXY or HTTP_PROXY names for a URL, as client-go understands them; undefined:
 * go there directly. The node itself is never reached through a proxy. NO_PROXY lists names (with all
 * below them), addresses and CIDRs, each with a port where wished, or `*`. Throws where it is no URL.
 */
export function environmentProxy(url: URL, env: Environment): string | undefined {
  const name = url.protocol === 'https:' ? 'https_proxy' : 'http_proxy';
  const proxy = variable(env, name);
  if (proxy === '') return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (isLoopback(host)) return undefined;
  const exceptions = variable(env, 'no_proxy').split(',');
  if (exceptions.some((entry) => excepts(entry.trim().toLowerCase(), host, port))) return undefined;
  const given = /^[a-z\d]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
  return checkedProxy(name.toUpperCase(), given);
}

/** The proxy as it is given; throws where it cannot be one, naming `field`, in which it stands. */
export function checkedProxy(field: string, given: string): string {
  if (/^(https?|socks5):$/.test(URL.parse(given)?.protocol ?? '')) return given;
  const shown = given.replace(/\/\/.*@/, '//…@'); // a password is nobody's business
  throw new SwitchyardError(
    'source',
    `${field} ${shown}: expected a URL such as http://proxy:3128`,
    {
      hint: 'http, https and socks5 are understood, with a host and, where it is not the usual one, a port.',
    },
  );
}

/** The lower-case name comes second, as in Go. */
function variable(env: Environment, name: string): string {
  return env[name.toUpperCase()] || env[name] || '';
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function excepts(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry === '') return false;
  if (entry.includes('/')) return isWithin(host, entry);
  const [, name = '', onlyPort] =
    /^\[?(.*?)\]?(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  if (isIP(name) > 0) return name === host;
  const domain = name.replace(/^\*?\./, '');
  // a dot in front leaves the name itself out
  return host.endsWith(`.${domain}`) || (host === domain && domain === name);
}

function isWithin(host: string, cidr: string): boolean {
  const [network = '', length = ''] = cidr.split('/');
  const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
  const longest = family === 'ipv6' ? 128 : 32;
  if (isIP(network) === 0 || isIP(host) !== isIP(network)) return false;
  if (!/^\d+$/.test(length) || Number(length) > longest) return false;
  const block = new BlockList();
  block.addSubnet(network, Number(length), family);
  return block.check(host, family);
}
