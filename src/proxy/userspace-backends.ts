import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { inspectFeatures } from '../backends/iptables/features.ts';
import { UserspaceBackend } from '../backends/userspace/backend.ts';
import { userspaceFeatures } from '../backends/userspace/features.ts';
import { UserspaceLowering } from '../backends/userspace/lower.ts';
import { PlaceKeeper } from '../backends/userspace/place-keeper.ts';
import { PortChooser, rangePorts, usualPorts } from '../backends/userspace/ports.ts';
import type { PortSupply } from '../backends/userspace/ports.ts';
import type { KeptPlaces } from '../backends/userspace/state-file.ts';
import type { UserspaceOptions } from '../backends/userspace/state.ts';
import type { UserspaceConfig } from '../config/proxy-config.ts';
import { usualPortsFile } from '../config/userspace-flags.ts';
import { errorText } from '../error.ts';
import { fileLimit } from '../host/file-limit.ts';
import { KeptFile } from '../host/kept-file.ts';
import type { Sysctls } from '../host/sysctl.ts';
import { aborted } from '../informer/wakeup.ts';
import type { Family } from '../ip/address.ts';
import type { PortRange } from '../ip/port-range.ts';
import { SocketRelay } from '../relay/socket-relay.ts';
import type { Relay } from '../relay/relay.ts';
import type { BackendsOptions, FamilyBackend, OpenMode } from './open-mode.ts';
import { openFamilyBackends } from './family-backends.ts';
import { expectNoIpvsAddresses } from './no-ipvs-addresses.ts';
import { FileNeeds } from './file-needs.ts';
import { HeldInstances } from './held-instances.ts';
import type { OnlyInstance } from './only-instance.ts';

/** All that the families of one agent share. */
interface Shared {
  readonly relay: Relay;
  readonly keeper: PlaceKeeper;
  readonly kept: KeptPlaces;
  readonly supply: PortSupply;
  readonly files: FileNeeds;
}

const migrateKey = 'net/ipv4/tcp_migrate_req';
const usualNodePorts: PortRange = { first: 30_000, last: 32_767 };
const usualEphemeral: PortRange = { first: 32_768, last: 60_999 };

/**
 * A backend for each family that kernel and iptables tools can do, with one relay for all. Waits until no other agent of
 * this mode is at work in the network namespace: two would open each other's ports.
 */
export async function openUserspace(
  options: BackendsOptions,
  signal: AbortSignal,
): Promise<OpenMode> {
  const { userspace } = options.config;
  await expectNoIpvsAddresses(options.config.ipvs.excludeCidrs, options.tools, signal);
  const stateFile = userspace.stateFile ?? usualPortsFile;
  const folders = lockFolders(stateFile, options.env);
  const { instances = new HeldInstances() } = options;
  const instance = await instances.becomeOnly('userspace', folders, options, signal);
  await prepareUserspace(options);
  const relay = await openRelay(userspace, options);
  try {
    const keeper = openKeeper(stateFile, options);
    const shared: Shared = {
      relay,
      keeper,
      kept: await keeper.load(),
      supply: await supplyOf(userspace, options.sysctls),
      files: new FileNeeds(options.log, workersOf(userspace)),
    };
    const own = new Map<Family, UserspaceBackend>();
    const families = await openFamilyBackends(
      options,
      async (port) => {
        const backend = await openBackend(port, options, shared, signal);
        if (typeof backend !== 'string') own.set(port.iptables.family, backend);
        return backend;
      },
      signal,
    );
    const tracked = families.map((each) => answeredBy(each, own.get(each.family)));
    return { families: tracked, relay, ...handOver(relay, instance) };
  } catch (error) {
    await relay.close();
    await instance.release();
    throw error;
  }
}

/** Lets the next agent begin as soon as all ports are free, which need not wait for the connections. */
export function handOver(
  relay: Pick<Relay, 'leave' | 'drain' | 'close'>,
  instance: Pick<OnlyInstance, 'release'> | undefined,
): Pick<OpenMode, 'leave' | 'close'> {
  const freePorts = async (): Promise<void> => {
    await relay.leave();
    await instance?.release();
  };
  let left: Promise<void> | undefined;
  const leave = async (): Promise<void> => {
    left ??= freePorts();
    await left;
  };
  const close: OpenMode['close'] = async (withinMs, hurry) => {
    await leave();
    const draining = relay.drain(withinMs);
    await (hurry === undefined ? draining : Promise.race([draining, aborted(hurry)]));
    await relay.close();
  };
  return { leave, close };
}

/** Where agents look for each other: beside the state file, or where programs keep what is for one run. */
function lockFolders(
  stateFile: string,
  { XDG_RUNTIME_DIR: runtime }: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const own = stateFile === '' ? [] : [dirname(stateFile)];
  const ofUser = runtime ? [join(runtime, 'switchyard')] : [];
  return [...new Set([...own, dirname(usualPortsFile), ...ofUser])];
}

/**
 * What needs privileges and comes before listeners, for --init-only too: connections that wait at a socket which is closed
 * go to another one at the same port, of another thread. Kernels before 5.14 do not know of it, and a few are reset.
 */
export async function prepareUserspace({ config, sysctls, log }: BackendsOptions): Promise<void> {
  if (config.userspace.portals === 'none') return;
  try {
    if ((await sysctls.read(migrateKey)) !== undefined) await sysctls.write(migrateKey, '1');
  } catch (error) {
    const what =
      'clients that are connecting while a Service is given session affinity may be reset';
    log.warn({}, `${what}: ${errorText(error)}`);
  }
}

export async function openRelay(
  config: Pick<UserspaceConfig, 'workers'>,
  { log, random }: Pick<BackendsOptions, 'log' | 'random'>,
): Promise<Relay> {
  const [workers, files] = [workersOf(config), await fileLimit()];
  return new SocketRelay({ log, random, workers, files });
}

/** Beyond eight, threads cost memory and bring little: the kernel's part of the work is done by whoever sends. */
export function workersOf({ workers }: Pick<UserspaceConfig, 'workers'>): number {
  return workers ?? Math.min(availableParallelism(), 8);
}

export function openKeeper(path: string, { log }: Pick<BackendsOptions, 'log'>): PlaceKeeper {
  return new PlaceKeeper(path === '' ? undefined : new KeptFile(path), log);
}

/** As the kernel sees it, listeners answer for Services; `backend` is the one that has them, whatever is around it. */
function answeredBy(each: FamilyBackend, backend: UserspaceBackend | undefined): FamilyBackend {
  if (backend === undefined) return each;
  return { ...each, answering: (servicePort) => backend.answering(servicePort) };
}

async function openBackend(
  port: ApplyPort,
  { config, clock, random, log }: BackendsOptions,
  { relay, keeper, kept, supply, files }: Shared,
  signal: AbortSignal,
): Promise<UserspaceBackend | string> {
  const { family } = port.iptables;
  const answer = userspaceFeatures(await inspectFeatures(port, signal), config.userspace.portRange);
  if ('problem' in answer) return answer.problem;
  const { features, warning } = answer;
  if (warning !== undefined) log.warn({ family }, warning);
  log.info({ family, features }, 'features of kernel and tools');
  const options: UserspaceOptions = { features, ...relaySettings(config.userspace) };
  const own = [...kept.ports].filter(([key]) => key.endsWith(` ${family}`));
  return new UserspaceBackend({
    ...port,
    family,
    clock,
    instanceId: randomBytes(4).toString('hex'),
    lowering: new UserspaceLowering(options),
    relay,
    ports: new PortChooser({ supply, random, kept: new Map(own) }),
    keeper,
    onListening: (count) => files.listening(family, count),
  });
}

/** Of Services that say nothing. */
export function relaySettings({
  udpTimeoutMs,
  drainMs,
}: UserspaceConfig): Pick<UserspaceOptions, 'udpTimeoutMs' | 'drainSeconds'> {
  return { udpTimeoutMs, drainSeconds: Math.ceil(drainMs / 1000) };
}

async function supplyOf(
  { portRange }: Pick<UserspaceConfig, 'portRange'>,
  sysctls: Sysctls,
): Promise<PortSupply> {
  if (portRange !== undefined) return rangePorts(portRange);
  const text = (await sysctls.read('net/ipv4/ip_local_port_range')) ?? '';
  const [first, last] = text.split(/\s+/).map(Number);
  const ephemeral = first && last && first <= last ? { first, last } : usualEphemeral;
  return usualPorts({ nodePorts: usualNodePorts, ephemeral });
}
