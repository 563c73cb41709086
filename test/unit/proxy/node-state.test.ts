import { describe, expect, it } from 'vitest';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import type { Address } from '../../../src/ip/address.ts';
import { ProxyHealth } from '../../../src/proxy/health.ts';
import { NodeState } from '../../../src/proxy/node-state.ts';
import { NodeWatch } from '../../../src/proxy/node-watch.ts';
import type { NodeObject } from '../../../src/services/objects.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { bareNode } from './bare-node.ts';
import { VirtualClock, settle } from './virtual-clock.ts';

const never = new AbortController().signal;

function node(change: Partial<NodeObject> = {}): NodeObject {
  return {
    ...bareNode,
    addresses: [
      { type: 'InternalIP', address: '192.0.2.7' },
      { type: 'InternalIP', address: 'fd00::7' },
    ],
    podCIDRs: ['10.1.0.0/24', 'fd01::/64'],
    ...change,
  };
}

class Rig {
  readonly clock = new VirtualClock();
  interfaces: readonly string[] = ['127.0.0.1', '198.51.100.1', '::1', 'fe80::1', '2001:db8::1'];
  readonly state: NodeState;

  constructor(
    argv: readonly string[] = [],
    addressesFromInterfaces = true,
    rulesNameAddresses = false,
  ) {
    const settings = proxyConfig(parseFlags(proxyFlags, argv).flags);
    this.state = new NodeState({
      nodeName: 'node-a',
      settings,
      bindAddress: settings.bindAddress,
      readInterfaces: async () => {
        if (this.interfaces.length === 0) throw new Error('no ip here');
        return this.interfaces as readonly Address[];
      },
      rulesNameAddresses,
      addressesFromInterfaces,
      interfacesMaxAgeMs: 1000,
      clock: this.clock,
      log: silentLog,
    });
  }

  watch(needsPodCidrs: boolean, expected: boolean, onChange = (): void => {}): NodeWatch {
    const { clock, state } = this;
    const health = new ProxyHealth({ clock, timeoutMs: 1, nodeExpected: true });
    const options = { nodeName: 'node-a', state, health, clock, log: silentLog };
    return new NodeWatch({ ...options, needsPodCidrs, expected, onChange });
  }
}

describe('the node', () => {
  it('has the addresses of its object', () => {
    const { state } = new Rig();
    state.setNode(node());
    expect(state.nodeIPs()).toEqual(['192.0.2.7', 'fd00::7']);
  });

  it('without an object has those of its interfaces, but none that is only local', async () => {
    const { state } = new Rig();
    await state.refresh(never);
    expect(state.nodeIPs()).toEqual(['198.51.100.1', '2001:db8::1']);
  });

  it('in a cluster never guesses its addresses', async () => {
    const { state } = new Rig([], false);
    await state.refresh(never);
    expect(state.nodeIPs()).toEqual([]);
  });

  it('has a specific bind address as its own, first', () => {
    const { state } = new Rig(['--bind-address=fd00::99']);
    state.setNode(node());
    expect(state.nodeIPs()).toEqual(['fd00::99', '192.0.2.7']);
  });

  it('is seen alike while only interfaces that no rule depends on come and go', async () => {
    const rig = new Rig();
    rig.state.setNode(node());
    const before = await rig.state.context('ipv4', never);
    rig.interfaces = [...rig.interfaces, '203.0.113.9'];
    await rig.clock.advance(1000);
    expect(await rig.state.context('ipv4', never)).toBe(before);
    expect(rig.state.localAddresses('ipv4')).toContain('203.0.113.9');
  });

  it('is seen anew when node ports depend on the interface', async () => {
    const rig = new Rig(['--nodeport-addresses=203.0.113.0/24']);
    const before = await rig.state.context('ipv4', never);
    rig.interfaces = [...rig.interfaces, '203.0.113.9'];
    await rig.clock.advance(1000);
    const after = await rig.state.context('ipv4', never);
    expect(before.nodePortAddresses).toEqual({ kind: 'list', addresses: [] });
    expect(after.nodePortAddresses).toEqual({ kind: 'list', addresses: ['203.0.113.9'] });
  });

  it.each([
    ['203.0.113.9', 'ipv4', true],
    ['169.254.20.10', 'ipv4', true],
    ['127.0.0.2', 'ipv4', false],
    ['2001:db8::9', 'ipv6', true],
    ['2001:db8::9', 'ipv4', false],
    ['fe80::9', 'ipv6', false],
  ] as const)(
    'where rules name its addresses, %s more is another node for %s: %s',
    async (address, family, isAnother) => {
      const rig = new Rig([], true, true);
      rig.state.setNode(node());
      const before = await rig.state.context(family, never);
      rig.interfaces = [...rig.interfaces, address];
      await rig.clock.advance(1000);
      const after = await rig.state.context(family, never);
      expect(after !== before).toBe(isAnother);
      expect(after.localAddresses.some((each) => each === address)).toBe(isAnother);
      await rig.clock.advance(1000);
      expect(await rig.state.context(family, never)).toBe(after);
    },
  );

  it('keeps its interfaces when they cannot be read', async () => {
    const rig = new Rig();
    await rig.state.refresh(never);
    rig.interfaces = [];
    await rig.clock.advance(1000);
    await rig.state.refresh(never);
    expect(rig.state.localAddresses('ipv4')).toEqual(['127.0.0.1', '198.51.100.1']);
  });

  it('is not seen at all before they were read once, where rules name them: its own would pass for a Service’s', async () => {
    const rig = new Rig([], true, true);
    const { interfaces } = rig;
    rig.interfaces = [];
    await expect(rig.state.context('ipv4', never)).rejects.toThrow(/not known: no ip here$/);
    rig.interfaces = interfaces;
    await expect(rig.state.context('ipv4', never)).resolves.toMatchObject({
      localAddresses: ['127.0.0.1', '198.51.100.1'],
    });
    rig.interfaces = [];
    await rig.clock.advance(1000);
    await expect(rig.state.context('ipv4', never)).resolves.toBeDefined();
  });

  it('recomputes pod CIDRs and ServiceCIDRs instead of starting over', async () => {
    const { state } = new Rig(['--detect-local-mode=NodeCIDR']);
    state.setNode(node());
    state.setServiceCidr({ meta: node().meta, cidrs: ['10.96.0.0/16', 'fd96::/112'] });
    const before = await state.context('ipv6', never);
    expect(before.podDetector).toEqual({ kind: 'cidr', cidr: 'fd01::/64' });
    expect(before.serviceCidrs).toEqual(['fd96::/112']);
    state.setNode(node({ podCIDRs: ['fd02::/64'] }));
    expect((await state.context('ipv6', never)).podDetector).toEqual({
      kind: 'cidr',
      cidr: 'fd02::/64',
    });
  });
});

describe('an update of the Node', () => {
  it.each<[string, Partial<NodeObject>, number]>([
    ['that means the same to rules', { taintKeys: ['a'], deleting: true }, 0],
    ['with another zone', { zone: 'b' }, 1],
    ['with other addresses', { addresses: [{ type: 'InternalIP', address: '192.0.2.8' }] }, 1],
    ['with other pod CIDRs', { podCIDRs: ['10.2.0.0/24'] }, 1],
  ])('%s', (_, change, syncs) => {
    const rig = new Rig();
    let asked = 0;
    const { handler } = rig.watch(false, true, () => void asked++);
    handler.added?.(node());
    expect(asked).toBe(1);
    handler.updated?.(node(), node(change));
    expect(asked - 1).toBe(syncs);
    expect(rig.state.node).toEqual(node(change));
  });
});

/** Whether a promise is still pending, done or rejected. */
function follow(promise: Promise<void>): () => string {
  let outcome = 'waiting';
  promise.then(
    () => (outcome = 'ready'),
    (error: unknown) => (outcome = String(error)),
  );
  return () => outcome;
}

describe('the start', () => {
  it('waits for the list of Nodes, and for no Node where there may be none', async () => {
    const rig = new Rig();
    const watch = rig.watch(false, false);
    const outcome = follow(watch.ready(never));
    await rig.clock.advance(3_600_000);
    expect(outcome()).toBe('waiting');
    watch.handler.synced?.();
    await settle();
    expect(outcome()).toBe('ready');
  });

  it('gives a Node 30 s to get addresses, then goes on', async () => {
    const rig = new Rig();
    const watch = rig.watch(false, true);
    const outcome = follow(watch.ready(never));
    watch.handler.synced?.();
    await rig.clock.advance(29_999);
    expect(outcome()).toBe('waiting');
    await rig.clock.advance(1);
    expect(outcome()).toBe('ready');
  });

  it('goes on as soon as addresses are there', async () => {
    const rig = new Rig();
    const watch = rig.watch(false, true);
    const outcome = follow(watch.ready(never));
    watch.handler.synced?.();
    watch.handler.added?.(node());
    await settle();
    expect(outcome()).toBe('ready');
  });

  it('fails where NodeCIDR mode gets no pod CIDRs within 5 min', async () => {
    const rig = new Rig();
    const watch = rig.watch(true, true);
    const outcome = follow(watch.ready(never));
    watch.handler.added?.(node({ podCIDRs: [] }));
    watch.handler.synced?.();
    await rig.clock.advance(299_999);
    expect(outcome()).toBe('waiting');
    await rig.clock.advance(1);
    expect(outcome()).toContain('timeout waiting for Node node-a to get spec.podCIDRs');
  });
});
