import { parseAddress } from '../ip/address.ts';
import type { BindConfig } from './proxy-config.ts';

/** Reads `IP:PORT`, `[IP]:PORT` or an address alone, which gets `ownPort`; undefined where it is none. */
export function parseBind(text: string, ownPort: number): BindConfig | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const bare = parseAddress(text.replace(/^\[(.*)\]$/, '$1'));
  if (!match) return bare === undefined ? undefined : { address: bare, port: ownPort };
  const address = parseAddress(match[1] ?? match[2] ?? '');
  const port = Number(match[3]);
  return address === undefined || port < 1 || port > 65_535 ? undefined : { address, port };
}

/** `0.0.0.0:10256`, `[::]:10256` */
export function bindText({ address, port }: BindConfig): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Whether two servers want one port: the address of all takes it from every other. */
export function bindsCollide(one: BindConfig, other: BindConfig): boolean {
  if (one.port !== other.port) return false;
  return one.address === other.address || wildcard(one) || wildcard(other);
}

function wildcard({ address }: BindConfig): boolean {
  return address === '0.0.0.0' || address === '::';
}
