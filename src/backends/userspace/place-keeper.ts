import { errorText } from '../../error.ts';
import type { KeptFile } from '../../host/kept-file.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { ListenerKey } from '../../relay/relay.ts';
import type { ServiceName } from '../../services/service-port.ts';
import type { Log } from '../../telemetry/log.ts';
import { Turns } from '../turns.ts';
import { keptPlacesText, parseKeptPlaces } from './state-file.ts';
import type { KeptPlaces } from './state-file.ts';

const nothing: KeptPlaces = { ports: new Map(), addresses: new Map() };

/**
 * The state file of all families. It is an aid: where it cannot be read or written that is a warning, and listeners get
 * other ports at the next start.
 */
export class PlaceKeeper {
  readonly #file: KeptFile | undefined;
  readonly #log: Log;
  readonly #ports = new Map<Family, ReadonlyMap<ListenerKey, number>>();
  #addresses: ReadonlyMap<ServiceName, Address> = new Map();
  #written: string | undefined;
  #problem: string | undefined;
  readonly #turns = new Turns();

  /** Without a file nothing is kept. */
  constructor(file: KeptFile | undefined, log: Log) {
    this.#file = file;
    this.#log = log;
  }

  /** What the run before has left. To be called first. */
  async load(): Promise<KeptPlaces> {
    const kept = await this.#read();
    for (const family of ['ipv4', 'ipv6'] as const) {
      const own = [...kept.ports].filter(([key]) => key.endsWith(` ${family}`));
      this.#ports.set(family, new Map(own));
    }
    this.#addresses = kept.addresses;
    return kept;
  }

  /** Keeps the ports of a family's listeners; resolves when they are in the file. */
  async keepPorts(family: Family, ports: ReadonlyMap<ListenerKey, number>): Promise<void> {
    this.#ports.set(family, ports);
    await this.#write();
  }

  /** Keeps the addresses of Services. */
  async keepAddresses(addresses: ReadonlyMap<ServiceName, Address>): Promise<void> {
    this.#addresses = addresses;
    await this.#write();
  }

  async #read(): Promise<KeptPlaces> {
    try {
      const text = await this.#file?.read();
      if (text === undefined) return nothing;
      const answer = parseKeptPlaces(text);
      if ('kept' in answer) {
        this.#written = text;
        return answer.kept;
      }
      this.#warn('read', answer.problem);
    } catch (error) {
      this.#warn('read', errorText(error));
    }
    return nothing;
  }

  async #write(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    await this.#turns.take(async () => {
      const ports = new Map([...this.#ports.values()].flatMap((each) => [...each]));
      const text = keptPlacesText({ ports, addresses: this.#addresses });
      if (text === this.#written) return;
      try {
        await file.write(text);
        this.#written = text;
        this.#problem = undefined;
      } catch (error) {
        this.#warn('written', errorText(error));
      }
    });
  }

  /** Each problem once. */
  #warn(what: 'read' | 'written', reason: string): void {
    if (reason === this.#problem) return;
    this.#problem = reason;
    this.#log.warn(
      {
        path: this.#file?.path,
        hint: 'name a file in a writable folder by --userspace-state-file',
      },
      `the state file cannot be ${what}, so listeners may get other ports at the next start: ${reason}`,
    );
  }
}
