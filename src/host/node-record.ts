import { readFile, readlink } from 'node:fs/promises';
import { errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import { KeptFile } from './kept-file.ts';
import type { Sysctls } from './sysctl.ts';

/** A kernel setting that was changed: what it was, and what it was set to. */
export interface ChangedSysctl {
  readonly before: string;
  readonly set: string;
}

/** What was changed on the node besides rules of our own names, so that it can be put back. */
export interface NodeRecord {
  /** By key: `net/ipv4/conf/all/route_localnet`. */
  readonly sysctls: Readonly<Record<string, ChangedSysctl>>;
  /** Variants of the iptables tools in which KUBE-FIREWALL was not there before us. */
  readonly firewalls: readonly string[];
}

const nothing: NodeRecord = { sysctls: {}, firewalls: [] };

/** The kernel that a record is about: one of another boot or another network namespace tells nothing. */
export interface KernelIdentity {
  readonly boot: string;
  readonly network: string;
}

/** The running kernel and the network namespace of this process; '' for what cannot be told. */
export async function kernelIdentity(proc = '/proc'): Promise<KernelIdentity> {
  const [boot, network] = await Promise.all([
    readFile(`${proc}/sys/kernel/random/boot_id`, 'utf8').catch(() => ''),
    readlink(`${proc}/self/ns/net`).catch(() => ''),
  ]);
  return { boot: boot.trim(), network };
}

export interface NodeRecordOptions {
  /** '' keeps no record. */
  readonly path: string;
  readonly identity: KernelIdentity;
  readonly log: Log;
}

/**
 * The record as a file, written whole or not at all. It is an aid: where it cannot be read or written
 * that is a warning, and the agent does its work all the same. A file that tells of another network namespace, or
 * is no record at all, is neither overwritten nor removed: somebody else needs it.
 */
export class NodeRecordFile {
  readonly path: string;
  readonly #file: KeptFile;
  readonly #identity: KernelIdentity;
  readonly #log: Log;
  #record: NodeRecord | undefined;
  #isOurs = true;

  constructor({ path, identity, log }: NodeRecordOptions) {
    this.path = path;
    this.#file = new KeptFile(path);
    this.#identity = identity;
    this.#log = log;
  }

  /** What is recorded of this kernel; nothing where there is no file, or none that can be read. */
  async read(): Promise<NodeRecord> {
    this.#record ??= await this.#load();
    return this.#record;
  }

  /** To be called before the setting is changed. The value before the first change is kept. */
  async noteSysctl(key: string, before: string, set: string): Promise<void> {
    const record = await this.read();
    const first = record.sysctls[key]?.before ?? before;
    await this.#save({
      ...record,
      sysctls: { ...record.sysctls, [key]: { before: first, set } },
    });
  }

  /** To be called before KUBE-FIREWALL is made where it was not. */
  async noteFirewall(variant: string): Promise<void> {
    const record = await this.read();
    const firewalls = [...new Set([...record.firewalls, variant])].toSorted();
    await this.#save({ ...record, firewalls });
  }

  /** Everything is as it was: the record goes, and its folder where nothing else is in it. */
  async clear(): Promise<void> {
    await this.read();
    this.#record = nothing;
    if (this.path === '' || !this.#isOurs) return;
    await this.#file.remove();
  }

  async #load(): Promise<NodeRecord> {
    if (this.path === '') return nothing;
    let text: string | undefined;
    try {
      text = await this.#file.read();
    } catch (error) {
      this.#isOurs = false;
      this.#warn('read', error);
      return nothing;
    }
    if (text === undefined) return nothing;
    const stored = parseRecord(text);
    if (stored === undefined) {
      this.#isOurs = text.trim() === ''; // as a mount makes it
      this.#warn('read', new Error('it holds no record of Switchyard'));
      return nothing;
    }
    const { boot, network } = this.#identity;
    if (stored.boot !== boot) return nothing; // the kernel has forgotten all of it
    if (stored.network === network) return stored.record;
    this.#isOurs = false;
    this.#log.warn(
      { path: this.path, recorded: stored.network, own: network, hint: anotherFile },
      'the state file is about another network namespace and is left aside, so cleanup will not know what is changed in this one',
    );
    return nothing;
  }

  async #save(record: NodeRecord): Promise<void> {
    this.#record = record;
    if (this.path === '' || !this.#isOurs) return;
    const text = `${JSON.stringify({ ...this.#identity, ...record }, undefined, 2)}\n`;
    try {
      await this.#file.write(text);
    } catch (error) {
      this.#warn('written', error);
    }
  }

  #warn(what: 'read' | 'written', error: unknown): void {
    this.#log.warn(
      { path: this.path, hint: 'name a file on a writable folder of the host by --state-file' },
      `the state file cannot be ${what}, so cleanup will not know what was changed: ${errorText(error)}`,
    );
  }
}

const anotherFile =
  'name another file by --state-file; remove this one only if that namespace is gone';

/** Sysctls that note what they change before they change it. */
export function recordedSysctls(sysctls: Sysctls, record: NodeRecordFile): Sysctls {
  return {
    read: async (key) => sysctls.read(key),
    async write(key, value) {
      const before = await sysctls.read(key);
      if (before !== undefined && before !== value) await record.noteSysctl(key, before, value);
      return sysctls.write(key, value);
    },
  };
}

/** Undefined for anything that we have not written. */
function parseRecord(text: string): (KernelIdentity & { readonly record: NodeRecord }) | undefined {
  const value = parseJson(text);
  if (!isObject(value)) return undefined;
  const { boot, network, sysctls, firewalls } = value;
  if (typeof boot !== 'string' || typeof network !== 'string') return undefined;
  if (!isObject(sysctls) || !Array.isArray(firewalls)) return undefined;
  if (!firewalls.every((each) => typeof each === 'string')) return undefined;
  const changed = Object.entries(sysctls).filter(isChanged);
  if (changed.length < Object.keys(sysctls).length) return undefined;
  return { boot, network, record: { sysctls: Object.fromEntries(changed), firewalls } };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isChanged(entry: [string, unknown]): entry is [string, ChangedSysctl] {
  const [, value] = entry;
  return isObject(value) && typeof value['before'] === 'string' && typeof value['set'] === 'string';
}
