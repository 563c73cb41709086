// `switchyard proxy` for whom time runs fifteen times as fast: what takes 90 s of silence takes 6.
// usage: node hasty-agent.ts FLAG…
import { hostname } from 'node:os';
import process from 'node:process';
import { systemClock } from '../../src/clock.ts';
import type { Clock } from '../../src/clock.ts';
import { parseFlags } from '../../src/config/parse-flags.ts';
import { proxyFlags } from '../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../src/config/read-proxy-config.ts';
import { runProgram } from '../../src/host/run-program.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { createSysctls } from '../../src/host/sysctl.ts';
import { connectDirectly } from '../../src/informer/api-connection.ts';
import { runAgent } from '../../src/proxy/run-agent.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const haste = 15;
const clock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * haste,
  sleep: async (ms, signal) => systemClock.sleep(ms / haste, signal),
};

const config = proxyConfig(parseFlags(proxyFlags, process.argv.slice(2)).flags);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
await runAgent(
  {
    config,
    hostname: hostname(),
    version: 'hasty',
    tools: systemTools,
    sysctls: createSysctls(),
    record: { noteFirewall: async () => {}, read: async () => ({ sysctls: {}, firewalls: [] }) },
    print: () => {},
    onFirstRules: () => {},
    connect: connectDirectly({ clock, random: Math.random, env: process.env, runProgram }),
    clock,
    random: Math.random,
    env: process.env,
    log: await createLogger({ ...config.logging, terminal: false }),
  },
  stop.signal,
);
