import { parseVersion } from '../backends/iptables/variant.ts';
import type { Variant, Version } from '../backends/iptables/variant.ts';
import { readKernelTable, parseKernelTable } from '../backends/ipvs/kernel-table.ts';
import { IpvsRemains } from '../backends/ipvs/remains.ts';
import type { Clock } from '../clock.ts';
import { SwitchyardError, errorText } from '../error.ts';
import { readBootRules } from '../host/boot-rules.ts';
import { cpuCount, systemConntrackPaths } from '../host/conntrack-sysctls.ts';
import { conntrackUsage } from '../host/conntrack.ts';
import { fewAtOnce } from '../host/few-at-once.ts';
import { fileLimit } from '../host/file-limit.ts';
import { readKernelParts } from '../host/kernel-modules.ts';
import { readMemory } from '../host/machine-memory.ts';
import { readNetworkShape } from '../host/network-shape.ts';
import { listProcesses } from '../host/node-processes.ts';
import { readLockFile, readPrivileges } from '../host/privileges.ts';
import { findProxyProcesses } from '../host/proxy-processes.ts';
import { runProgram } from '../host/run-program.ts';
import { toolCure } from '../host/run-tool.ts';
import type { ToolResult, ToolRunner } from '../host/run-tool.ts';
import { createSysctls, readSetting } from '../host/sysctl.ts';
import { findTool } from '../host/tool-path.ts';
import { defaultLockPaths, xtablesLockHolder } from '../host/xtables-lock.ts';
import { loadApiClient } from '../informer/api-client.ts';
import { loadKubeConfig } from '../informer/kubeconfig.ts';
import type { Family } from '../ip/address.ts';
import { silentLog } from '../telemetry/log.ts';
import { readApi } from './api-readings.ts';
import type { Subject } from './check.ts';
import { credentialDates, credentialKind } from './credential-dates.ts';
import type {
  ApiReading,
  CredentialsReading,
  IpvsReading,
  Readings,
  SysctlReading,
  ToolReading,
} from './readings.ts';
import { probe, readNftTables, readRules, readVariant } from './rule-readings.ts';
import { examinedSysctls } from './sysctls.ts';
import { takenPorts } from './taken-ports.ts';
import { examinedTools } from './tools.ts';

/** What reading the machine takes. */
export interface MachineOptions {
  readonly subject: Subject;
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether rules may be tried. */
  readonly mayProbe: boolean;
  /** Ends all that reads. */
  readonly signal: AbortSignal;
}

const toolTimeoutMs = 20_000;
/** The node has other work than this. */
const mostTools = 4;
/** Beside what its credentials take: a plugin may have 45 s for them. */
const apiTimeoutMs = 10_000;

/** The readings of this machine. Nothing is read before it is asked for, and nothing twice. */
export function machineReadings(options: MachineOptions): Readings {
  const { env, signal, subject, mayProbe } = options;
  const tools = fewAtOnce(options.tools, mostTools);
  const hasIPv6 = once(async () => (await readSetting('/proc/net/if_inet6')) !== undefined);
  const families = async (): Promise<readonly Family[]> =>
    (await hasIPv6()) ? ['ipv4', 'ipv6'] : ['ipv4'];
  const privileges = once(readPrivileges);
  const kernel = once(async () => readKernelParts());
  const variant = once(async () => readVariant(tools, signal));
  const processes = once(listProcesses);
  const credentials = once(async () => {
    const startMs = options.clock.monotonic();
    const reading = await readCredentials(options);
    return { reading, tookMs: Math.ceil(options.clock.monotonic() - startMs) };
  });
  const ipvsTable = once(readKernelTable);
  const examined = once(async () =>
    readTools(tools, (await ipvsTable().catch(() => undefined)) !== undefined, signal),
  );
  return {
    hasIPv6,
    privileges,
    kernel,
    variant,
    processes,
    tools: examined,
    probe: once(async () => {
      if (!mayProbe)
        return { kind: 'skipped', why: 'rules were not tried: --probe=false', cure: undefined };
      const facts = {
        privileges: await privileges(),
        families: await families(),
        variant: await variant(),
        tools: await examined(),
        kernel: await kernel(),
      };
      return probe({ config: subject.config, runner: tools, ...facts }, signal);
    }),
    rules: once(async () => readRules(tools, await families(), signal)),
    nftTables: once(async () => readNftTables(tools, signal)),
    lock: once(async () => {
      const paths = defaultLockPaths(env);
      return { file: await readLockFile(paths.lockFile), holder: await xtablesLockHolder(paths) };
    }),
    // without root nothing tells whether an agent, which has it, could
    sysctls: once(async () => {
      const { mayWriteSysctls, isRoot } = await privileges();
      return readSysctls(mayWriteSysctls || !isRoot);
    }),
    conntrack: once(async () => {
      const [usage, hash, cpus] = await Promise.all([
        conntrackUsage(),
        readSetting(systemConntrackPaths.hashSize).catch(() => undefined),
        cpuCount(),
      ]);
      return { usage, hashSize: hash === undefined ? undefined : Number(hash), cpus };
    }),
    shape: once(async () => readNetworkShape()),
    proxies: once(findProxyProcesses),
    listeners: once(async () => {
      const { healthzBind, metricsBind } = subject.config;
      return takenPorts(new Set([healthzBind?.port, metricsBind?.port]), tools, signal);
    }),
    bootRules: once(async () => readBootRules()),
    ipvs: once(async () => readIpvs(await ipvsTable(), await families(), { ...options, tools })),
    memory: once(async () => readMemory()),
    fileLimit: once(async () => fileLimit()),
    // A plugin that gives them is run again for it.
    api: once(async () => readApiServer(options, apiTimeoutMs + 2 * (await credentials()).tookMs)),
    credentials: async () => (await credentials()).reading,
  };
}

/** The same answer for all who ask. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return async () => (answer ??= read());
}

async function readTools(
  tools: ToolRunner,
  hasIpvs: boolean,
  signal: AbortSignal,
): Promise<readonly ToolReading[]> {
  return Promise.all(examinedTools.map(async (tool) => readTool(tool, tools, hasIpvs, signal)));
}

/** How some tools want to be asked for their version. */
const versionArgs: ReadonlyMap<string, string> = new Map([
  ['ip', '-V'],
  // asked for its version it asks the kernel too, which loads ip_set for that
  ['ipset', 'help'],
  ['nfacct', 'version'],
]);

async function readTool(
  tool: string,
  tools: ToolRunner,
  hasIpvs: boolean,
  signal: AbortSignal,
): Promise<ToolReading> {
  if ((await findTool(tool)) === undefined) return { tool, found: false, cure: toolCure(tool) };
  const there = { tool, found: true, said: '', version: undefined, variant: undefined } as const;
  // ipvsadm loads ip_vs whatever it is asked
  if (tool === 'ipvsadm' && !hasIpvs) return there;
  const options = { timeoutMs: toolTimeoutMs, signal };
  const args = [versionArgs.get(tool) ?? '--version'];
  let result: ToolResult;
  try {
    result = await tools.run(tool, args, options);
  } catch (error) {
    signal.throwIfAborted();
    return broken(tool, errorText(error));
  }
  const { stdout, exitCode, stderr } = result;
  if (cannotBegin.has(exitCode)) return broken(tool, stderr.trim());
  if (exitCode !== 0) return { ...there, said: `its version is not told: ${stderr.trim()}` };
  const [said = ''] = stdout.split('\n');
  const found: { version: Version | undefined; variant?: Variant } = parseVersion(stdout) ?? {
    version: plainVersion(said),
  };
  return { tool, found: true, said, version: found.version, variant: found.variant };
}

/** Statuses of a program that could not be begun: a library or an interpreter is missing. */
const cannotBegin: ReadonlySet<number> = new Set([126, 127]);

function broken(tool: string, why: string): ToolReading {
  const cure = `run ${tool} by hand; install it anew, with the libraries that it needs`;
  return { tool, found: false, why: `cannot be run (${why})`, cure };
}

/** The first number with a dot in it. */
function plainVersion(said: string): Version | undefined {
  const [, major, minor, patch] = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(said) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor), Number(patch ?? 0)];
}

async function readSysctls(writable: boolean): Promise<SysctlReading> {
  const sysctls = createSysctls();
  const values = new Map<string, string>();
  for (const key of examinedSysctls) {
    const value = await sysctls.read(key);
    if (value !== undefined) values.set(key, value);
  }
  return { values, writable, release: (await sysctls.read('kernel/osrelease')) ?? '' };
}

/** Tools are asked only where there are virtual servers to tell apart. */
async function readIpvs(
  table: string | undefined,
  families: readonly Family[],
  { tools, signal }: MachineOptions,
): Promise<IpvsReading> {
  if (table === undefined) return { isLoaded: false, foreign: [], ours: 0 };
  let ours = 0;
  const foreign: string[] = [];
  for (const family of families) {
    const all = parseKernelTable(table, family);
    if (all.size === 0) continue;
    const found = await new IpvsRemains({ family, tools, excludeCidrs: [] }).find(signal);
    const own = new Set(found?.servers.map(({ key }) => key));
    ours += own.size;
    for (const { key, address, port, protocol } of all.values()) {
      if (!own.has(key)) foreign.push(`${address} port ${port}/${protocol.toUpperCase()}`);
    }
  }
  return { isLoaded: true, foreign: foreign.toSorted(), ours };
}

async function readApiServer(
  { subject, clock, env, signal }: MachineOptions,
  timeoutMs: number,
): Promise<ApiReading> {
  const { source } = subject.config;
  if (source.kind !== 'kubernetes') return { kind: 'unused' };
  const { kubeconfig, master } = source;
  try {
    const client = await loadApiClient({
      kubeconfig,
      master,
      log: silentLog,
      clock,
      env,
      runProgram,
    });
    try {
      const limited = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      return await readApi({ client, clock, nodeName: subject.nodeName, signal: limited });
    } finally {
      await client.close();
    }
  } catch (error) {
    const hint = error instanceof SwitchyardError ? error.hint : undefined;
    return {
      kind: 'unusable',
      problem: errorText(error),
      cure: hint ?? 'give --kubeconfig=FILE or --master=URL',
    };
  }
}

async function readCredentials({
  subject,
  clock,
  env,
  signal,
}: MachineOptions): Promise<CredentialsReading> {
  const { source } = subject.config;
  if (source.kind !== 'kubernetes') return { kind: 'unused' };
  const { kubeconfig, master } = source;
  const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';
  try {
    const access = loadKubeConfig({
      kubeconfig,
      master,
      env,
      serviceAccountDirectory,
      clock,
      runProgram,
    });
    const found = await access.credentials(signal);
    return {
      kind: 'read',
      dated: credentialDates(found),
      by: credentialKind(found),
      nowMs: clock.now(),
    };
  } catch (error) {
    return { kind: 'unread', problem: errorText(error) };
  }
}
