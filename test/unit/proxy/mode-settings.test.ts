// What one mode has set and another does not need goes back, once.
import { beforeEach, describe, expect, it } from 'vitest';
import type { Backend } from '../../../src/backends/backend.ts';
import type { NodeRecord } from '../../../src/host/node-record.ts';
import { NoLocalhostNodePorts, localnetKey } from '../../../src/proxy/localhost-node-ports.ts';
import { isIpvsSetting, putBack } from '../../../src/proxy/mode-settings.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { emptyDelta, emptyGraph } from '../../support/iptables-states.ts';

const { signal } = new AbortController();
let values: Map<string, string>;
let readOnly: boolean;

beforeEach(() => {
  readOnly = false;
  values = new Map([
    ['net/ipv4/vs/conntrack', '1'],
    ['net/ipv4/vs/expire_nodest_conn', '1'],
    ['net/ipv4/conf/all/arp_ignore', '2'],
    ['net/ipv4/ip_forward', '1'],
    [localnetKey, '1'],
  ]);
});

function settings(keys: readonly string[], firewalls: readonly string[] = []) {
  const changed = keys.map((key) => [key, { before: '0', set: '1' }] as const);
  const record: NodeRecord = { sysctls: Object.fromEntries(changed), firewalls };
  return {
    sysctls: {
      read: async (key: string) => values.get(key),
      write: async (key: string, value: string) => {
        if (readOnly) throw new Error(`${key} is read-only`);
        return values.set(key, value).has(key);
      },
    },
    record: { read: async () => record },
    log: silentLog,
  };
}

describe('settings of ipvs mode', () => {
  it('go back to what they were, but for those that others have changed, and forwarding', async () => {
    const all = [...values.keys()].filter((key) => key !== 'net/ipv4/vs/conntrack');
    expect(await putBack(isIpvsSetting, settings(all))).toBe(true);
    expect(Object.fromEntries(values)).toEqual({
      'net/ipv4/vs/conntrack': '1', // not recorded: it was so before
      'net/ipv4/vs/expire_nodest_conn': '0',
      'net/ipv4/conf/all/arp_ignore': '2',
      'net/ipv4/ip_forward': '1',
      [localnetKey]: '1',
    });
  });

  it('that cannot be written are told of', async () => {
    readOnly = true;
    expect(await putBack(isIpvsSetting, settings([...values.keys()]))).toBe(false);
  });
});

/** What it finds at its sync: route_localnet, and whether the guard is its to remove. */
async function synced(firewalls: readonly string[]): Promise<unknown> {
  let seen: unknown;
  const backend = new NoLocalhostNodePorts('nft', settings([localnetKey], firewalls), (owns) => {
    const sync = async (): Promise<unknown> =>
      (seen = { localnet: values.get(localnetKey), ownsGuard: owns() });
    return { mode: 'ipvs', sync } as unknown as Backend;
  });
  await backend.sync(emptyGraph, emptyDelta, signal);
  return seen;
}

describe('a mode without node ports on 127.0.0.1', () => {
  it('puts route_localnet back before its first sync, which then may remove the guard', async () => {
    expect(await synced(['nft'])).toEqual({ localnet: '0', ownsGuard: true });
  });

  it('leaves a guard that was there before, or is of other tools', async () => {
    expect(await synced(['legacy'])).toEqual({ localnet: '0', ownsGuard: false });
  });

  it('keeps the guard as long as the setting is on', async () => {
    readOnly = true;
    expect(await synced(['nft'])).toEqual({ localnet: '1', ownsGuard: false });
  });
});
