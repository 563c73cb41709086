import type { ProxyConfig } from '../config/proxy-config.ts';

/** Whether the kernel is told anything. Without rules, listeners at places of their own are all that there is. */
export function hasRules({ mode, userspace }: Pick<ProxyConfig, 'mode' | 'userspace'>): boolean {
  return mode !== 'userspace' || userspace.portals !== 'none';
}
