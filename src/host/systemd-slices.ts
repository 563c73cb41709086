import type { BusProperties } from './dbus-message.ts';
import { cpuWeight } from './cgroups.ts';
import type { CgroupLimits } from './cgroups.ts';
import { BusRefusal, MessageBus, systemBusPath } from './system-bus.ts';

/** No limit. */
const infinity = 2n ** 64n - 1n;
/** Parts of a second, in microseconds, that systemd counts CPU time by. */
const perSecondStep = 10_000n;

/** An answer is waited for as long as D-Bus' own library does. */
const longestMs = 25_000;

/** The controllers that each slice has, whatever is limited. */
const accounting: BusProperties = new Map([
  ['CPUAccounting', true],
  ['MemoryAccounting', true],
  ['TasksAccounting', true],
]);

/** Slices of systemd: cgroups that it makes, limits and removes; nobody else may in its tree. */
export class SystemdSlices {
  readonly #version: 1 | 2;
  readonly #path: string;

  /** `version`: of the machine's cgroups. */
  constructor(version: 1 | 2, path = systemBusPath) {
    this.#version = version;
    this.#path = path;
  }

  /** Has one begun, with all that it is in, that is not there yet: `kubepods-burstable.slice`. */
  async start(name: string, limits: CgroupLimits | undefined): Promise<void> {
    const properties = new Map([...accounting, ...this.#properties(limits)]);
    try {
      await this.#call('StartTransientUnit', [name, 'replace', properties, []]);
    } catch (thrown) {
      if (!isRefusal(thrown, 'UnitExists')) throw thrown;
      // It has ended, and systemd has not forgotten it yet.
      await this.#call('StartUnit', [name, 'replace']);
      await this.#call('SetUnitProperties', [name, true, properties]);
    }
  }

  /** Sets the limits of one that is there, until it is gone or the machine is booted. */
  async limit(name: string, limits: CgroupLimits): Promise<void> {
    await this.#call('SetUnitProperties', [name, true, this.#properties(limits)]);
  }

  /** Has one ended, with all that is in it; nothing where systemd has none of this name. */
  async stop(name: string): Promise<void> {
    try {
      await this.#call('StopUnit', [name, 'replace']);
    } catch (thrown) {
      if (!isRefusal(thrown, 'NoSuchUnit')) throw thrown;
    }
  }

  async #call(
    member: string,
    given: readonly (string | boolean | BusProperties | readonly [])[],
  ): Promise<void> {
    // Seldom enough for a connection of its own, which nobody has to end with this process.
    const bus = await MessageBus.open(this.#path, () => {}, AbortSignal.timeout(longestMs));
    try {
      await bus.call({
        destination: 'org.freedesktop.systemd1',
        path: '/org/freedesktop/systemd1',
        interface: 'org.freedesktop.systemd1.Manager',
        member,
        arguments: given,
      });
    } finally {
      bus.close();
    }
  }

  #properties(limits: CgroupLimits | undefined): BusProperties {
    if (limits === undefined) return new Map();
    const { cpuShares, cpuPeriodUs, cpuQuotaUs, memoryBytes, pids } = limits;
    const isSecond = this.#version === 2;
    return new Map([
      isSecond ? ['CPUWeight', cpuWeight(cpuShares)] : ['CPUShares', cpuShares],
      ['CPUQuotaPeriodUSec', cpuPeriodUs],
      ['CPUQuotaPerSecUSec', perSecond(cpuQuotaUs, cpuPeriodUs)],
      [isSecond ? 'MemoryMax' : 'MemoryLimit', memoryBytes || infinity],
      ['TasksMax', pids || infinity],
    ]);
  }
}

/** CPU time in microseconds a second: never less than asked for. */
function perSecond(quotaUs: bigint, periodUs: bigint): bigint {
  if (quotaUs === 0n) return infinity;
  const exact = (quotaUs * 1_000_000n + periodUs - 1n) / periodUs;
  return ((exact + perSecondStep - 1n) / perSecondStep) * perSecondStep;
}

/** By systemd's name of the error. */
function isRefusal(thrown: unknown, name: string): boolean {
  return thrown instanceof BusRefusal && thrown.errorName === `org.freedesktop.systemd1.${name}`;
}
