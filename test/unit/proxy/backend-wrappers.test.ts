// What is wrapped around a backend does not hide what that has at work beside its syncs.
import { expect, it } from 'vitest';
import type { Backend } from '../../../src/backends/backend.ts';
import type { ToolRunner } from '../../../src/host/run-tool.ts';
import type { Sysctls } from '../../../src/host/sysctl.ts';
import { AfterNftables } from '../../../src/proxy/after-nftables.ts';
import { Reserving } from '../../../src/proxy/ipvs-backends.ts';
import {
  LocalhostNodePorts,
  NoLocalhostNodePorts,
} from '../../../src/proxy/localhost-node-ports.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { settle } from './virtual-clock.ts';

const sysctls: Sysctls = { read: async () => undefined, write: async () => false };
const noTools: ToolRunner = {
  run: async () => {
    throw new Error('nobody asked');
  },
};
const record = { read: async () => ({ sysctls: {}, firewalls: [] }) };
const reserved = { reason: () => undefined, ready: async () => {}, version: 0 };

it.each([
  [
    'LocalhostNodePorts',
    (inner) => new LocalhostNodePorts(inner, async () => {}, sysctls, silentLog),
  ],
  [
    'NoLocalhostNodePorts',
    (inner) => new NoLocalhostNodePorts('nft', { sysctls, record, log: silentLog }, () => inner),
  ],
  ['AfterNftables', (inner) => new AfterNftables(inner, 'ipv4', noTools, silentLog)],
  ['Reserving', (inner) => new Reserving(inner, reserved)],
] satisfies [string, (inner: Backend) => Backend][])(
  '%s ends with its backend',
  async (_name, wrap) => {
    const over = Promise.withResolvers<void>();
    const inner: Backend = {
      mode: 'ipvs',
      sync: async () => {
        throw new Error('nobody asked');
      },
      audit: async () => undefined,
      invalidate() {},
      desired: () => undefined,
      ended: async () => over.promise,
    };
    let hasEnded = false;
    const ended = wrap(inner)
      .ended()
      .then(() => (hasEnded = true));
    await settle();
    expect(hasEnded).toBe(false);
    over.resolve();
    await ended;
    expect(hasEnded).toBe(true);
  },
);
