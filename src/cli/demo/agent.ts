import { join } from 'node:path';
import process from 'node:process';
import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import type { NamespaceProcess, Namespaces } from '../../host/namespaces.ts';
import type { NetworkActor } from './actor.ts';
import { shop } from './shop.ts';

const startDeadlineMs = 30_000;
const keptLogLength = 4000;

/** The real agent as a child process in the node's namespace, started from the program that runs now. */
export class DemoAgent {
  readonly #child: NamespaceProcess;
  /** Rejects when the agent ends before it is asked to. */
  readonly failure: Promise<never>;
  #log = '';
  #stopping = false;

  constructor(
    namespaces: Namespaces,
    { mode, manifests, folder }: { mode: string; manifests: string; folder: string },
  ) {
    const args = [
      process.argv[1] ?? '',
      'proxy',
      `--proxy-mode=${mode}`,
      `--source=file:${manifests}`,
      `--hostname-override=${shop.nodeName}`,
      `--cluster-cidr=${shop.clusterCidrs}`,
      '--iptables-min-sync-period=100ms',
      // The node is a namespace: limits and scores of the machine itself are not the demo's to change.
      '--conntrack-max-per-core=0',
      '--oom-score-adj=0',
      '--state-file=',
      '--admin-socket=',
      ...(mode === 'userspace' ? ['--userspace-state-file='] : []),
    ];
    const env = { XTABLES_LOCKFILE: join(folder, 'xtables.lock') };
    this.#child = namespaces.spawn('node', process.execPath, args, env);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#log = (this.#log + chunk.toString()).slice(-keptLogLength);
      });
    }
    this.failure = this.#watch();
    this.failure.catch(() => {}); // whoever waits is told; nobody has to
  }

  /** Waits for the first sync of both families; answers how long it took since the call, in whole milliseconds. */
  async untilSynced(node: NetworkActor, clock: Clock, signal: AbortSignal): Promise<number> {
    const startedMs = clock.monotonic();
    while (clock.monotonic() - startedMs < startDeadlineMs) {
      signal.throwIfAborted();
      const { body } = await Promise.race([
        node.get('http://127.0.0.1:10249/metrics'),
        this.failure,
      ]);
      if (syncedFamilies(body).length === 2) return Math.round(clock.monotonic() - startedMs);
      await clock.sleep(50, signal);
    }
    throw new SwitchyardError('timeout', `the agent made no rules within ${startDeadlineMs} ms`, {
      hint: `its last words:\n${this.#log.trim()}`,
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.kill('SIGTERM');
    await this.#child;
  }

  async #watch(): Promise<never> {
    const { exitCode } = await this.#child;
    if (this.#stopping) return new Promise<never>(() => {});
    throw new SwitchyardError('tool', `the agent ended with status ${exitCode ?? 'none'}`, {
      hint: `its last words:\n${this.#log.trim()}`,
    });
  }
}

/** The families whose rules have been written at least once, from the text of /metrics. */
export function syncedFamilies(metrics: string): readonly string[] {
  const pattern =
    /^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{[^}]*ip_family="(\w+)"[^}]*\} ([\d.e+]+)$/gm;
  return [...metrics.matchAll(pattern)]
    .filter(([, , seconds]) => Number(seconds) > 0)
    .map(([, family]) => family ?? '');
}
