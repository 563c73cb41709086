import { familyLabel, hostPort } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { ListenFailure, ListenerKey } from '../../relay/relay.ts';
import { filesCure } from '../../relay/wire.ts';
import type { Places, Standing } from './listening.ts';
import type { PortChooser } from './ports.ts';
import type { WantedListener } from './state.ts';

/** Listeners at the one address of the node, each at a port that is chosen for it. */
export class NodePlaces implements Places {
  readonly #family: Family;
  readonly #ports: PortChooser;
  #address: Address | undefined;

  constructor(family: Family, ports: PortChooser) {
    this.#family = family;
    this.#ports = ports;
  }

  /** Says which address the node has; whether it is another than before. */
  moveTo(address: Address | undefined): boolean {
    if (address === this.#address) return false;
    this.#address = address;
    return true;
  }

  choose(listeners: readonly WantedListener[]): ReadonlyMap<ListenerKey, Standing> {
    const address = this.#address;
    if (address === undefined) {
      const refused = `this node has no ${familyLabel(this.#family)} address to listen at`;
      return new Map(listeners.map(({ key }) => [key, { refused }]));
    }
    const chosen = this.#ports.choose(listeners);
    return new Map(
      Array.from(chosen, ([key, each]) => [key, 'refused' in each ? each : { address, ...each }]),
    );
  }

  failed(listener: WantedListener, failure: ListenFailure): string | undefined {
    // In use, or kept from us (EACCES: below net.ipv4.ip_unprivileged_port_start): the next one may do.
    if (failure.code === 'EADDRINUSE' || failure.code === 'EACCES') {
      this.#ports.passOver(listener);
      return undefined;
    }
    this.#ports.release(listener);
    return listenProblem(failure, this.#address);
  }

  release(listener: WantedListener): void {
    this.#ports.release(listener);
  }

  forgive(): void {
    this.#ports.forgive();
  }
}

/** Listeners at places of their own; a port that this user may not have is moved. */
export class OwnPlaces implements Places {
  readonly #moved = new Set<ListenerKey>();

  choose(listeners: readonly WantedListener[]): ReadonlyMap<ListenerKey, Standing> {
    return new Map(listeners.map((listener) => [listener.key, this.#placeOf(listener)]));
  }

  failed(listener: WantedListener, failure: ListenFailure): string | undefined {
    const { key, place } = listener;
    if (failure.code === 'EACCES' && place?.otherwise !== undefined && !this.#moved.has(key)) {
      this.#moved.add(key);
      return undefined;
    }
    const standing = this.#placeOf(listener);
    if ('refused' in standing) return standing.refused;
    return listenProblem(failure, standing.address, standing.port);
  }

  release({ key }: WantedListener): void {
    this.#moved.delete(key);
  }

  forgive(): void {
    // the places are the only ones there are
  }

  #placeOf({ key, place }: WantedListener): Standing {
    if (place === undefined) return { refused: 'it has no place' };
    const { address, port, otherwise } = place;
    return { address, port: this.#moved.has(key) ? (otherwise ?? port) : port };
  }
}

/** Why nobody listens there, in words that say what to do. */
export function listenProblem(
  { code, message }: ListenFailure,
  address: Address | undefined,
  port?: number,
): string {
  const where = address === undefined ? '' : port === undefined ? address : hostPort(address, port);
  switch (code) {
    case 'EMFILE':
      return `too many open files (EMFILE); ${filesCure}`;
    case 'ENFILE':
      return 'the machine has too many open files (ENFILE); raise fs.file-max';
    case 'EADDRNOTAVAIL':
      return `${where} is no address of this machine (EADDRNOTAVAIL)`;
    case 'EADDRINUSE':
      return `${where} is in use by another program (EADDRINUSE)`;
    case 'EACCES':
      return `this user may not listen at ${where} (EACCES); run as root, or lower net.ipv4.ip_unprivileged_port_start`;
    default:
      return `cannot listen at ${where}: ${message} (${code})`;
  }
}
