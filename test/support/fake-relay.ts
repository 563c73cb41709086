import type {
  ListenFailure,
  Listener,
  ListenerKey,
  Relay,
  RelayChange,
} from '../../src/relay/relay.ts';

/** A relay without sockets: it remembers what it was told, and fails as the test says. */
export class FakeRelay implements Pick<Relay, 'change' | 'admit'> {
  /** What it was told, in order: `open KEY ADDRESS PORT`, `close KEY`, `admit KEY`. */
  readonly told: string[];
  readonly open = new Map<ListenerKey, Listener>();
  readonly admitted = new Set<ListenerKey>();
  /** Why a listener cannot be opened, as the system says it; undefined: it can. */
  refuses: (listener: Listener) => string | undefined = () => undefined;

  /** Closed and opened, of each change. */
  readonly changes: RelayChange[] = [];

  /** Nothing can be changed. */
  isBroken = false;

  constructor(told: string[] = []) {
    this.told = told;
  }

  async change({ close, open }: RelayChange): Promise<readonly ListenFailure[]> {
    if (this.isBroken) throw new Error('no relay');
    this.changes.push({ close, open });
    for (const key of close) {
      this.told.push(`close ${key}`);
      this.open.delete(key);
      this.admitted.delete(key);
    }
    const failures: ListenFailure[] = [];
    for (const listener of open) {
      const { key, address, port } = listener;
      this.told.push(`open ${key} ${address} ${port}`);
      const before = this.open.get(key);
      if (before?.address !== address || before.port !== port) this.admitted.delete(key);
      const code = this.refuses(listener);
      if (code === undefined) this.open.set(key, listener);
      else {
        this.open.delete(key);
        failures.push({ key, code, message: `listen ${code}` });
      }
    }
    return failures;
  }

  async admit(keys: Iterable<ListenerKey>): Promise<void> {
    for (const key of keys) {
      this.told.push(`admit ${key}`);
      this.admitted.add(key);
    }
  }

  /** What it was told since this was asked last. */
  news(): readonly string[] {
    return this.told.splice(0);
  }
}
