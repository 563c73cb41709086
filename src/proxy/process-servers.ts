import type { Clock } from '../clock.ts';
import { bindText, bindsCollide } from '../config/bind-address.ts';
import type { BindConfig, ProxyConfig } from '../config/proxy-config.ts';
import { HttpServer } from '../telemetry/http-server.ts';
import type { HttpHandler } from '../telemetry/http-server.ts';
import type { Log } from '../telemetry/log.ts';

type ServerKey = 'health' | 'metrics';
const serverKeys: readonly ServerKey[] = ['health', 'metrics'];

/** Where the servers listen. */
type Binds = Pick<ProxyConfig, 'healthzBind' | 'metricsBind' | 'bindAddressHardFail'>;

/** What is answered at the two servers. */
export interface ServerAnswers extends Readonly<Record<ServerKey, HttpHandler>> {
  /** Told why one of them cannot listen: at first, and then every few minutes. */
  readonly onFailure?: ((which: ServerKey, why: string) => void) | undefined;
}

type Places = Readonly<Record<ServerKey, BindConfig | undefined>>;

interface Standing {
  readonly bind: BindConfig;
  readonly server: HttpServer;
}

/**
 * The health and the metrics server of the process: they outlast the agent that answers, and one whose address stays
 * keeps its socket.
 */
export class ProcessServers {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #standing = new Map<ServerKey, Standing>();
  #answers: ServerAnswers = { health: tooEarly, metrics: tooEarly };

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** What is answered from now on. */
  answerWith(answers: ServerAnswers): void {
    this.#answers = answers;
  }

  /**
   * Moves those whose address changes, and them alone. Rejects where an address cannot be had and that is to be an
   * error; then all stand where they stood.
   */
  async listenAt(binds: Binds): Promise<void> {
    const before = { health: this.#bindOf('health'), metrics: this.#bindOf('metrics') };
    try {
      await this.#move(
        { health: binds.healthzBind, metrics: binds.metricsBind },
        binds.bindAddressHardFail,
      );
    } catch (error) {
      await this.#move(before, false);
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#standing.values()].map(async ({ server }) => server.stop()));
    this.#standing.clear();
  }

  async #move(binds: Places, hardFail: boolean): Promise<void> {
    const moving = serverKeys.filter((key) => !sameBind(this.#bindOf(key), binds[key]));
    for (const key of moving) {
      // An address that takes the port of an old one cannot be had beside it.
      const old = this.#bindOf(key);
      const isInTheWay = moving.some((each) => collide(old, binds[each]));
      if (binds[key] === undefined || isInTheWay) await this.#stop(key);
    }
    for (const key of moving) {
      const bind = binds[key];
      if (bind !== undefined) await this.#open(key, bind, hardFail);
    }
  }

  async #open(key: ServerKey, bind: BindConfig, hardFail: boolean): Promise<void> {
    const server = new HttpServer({
      ...bind,
      name: `${key} server`,
      handler: (request, response) => {
        this.#answers[key](request, response);
      },
      log: this.#log,
      clock: this.#clock,
      hardFail,
      onFailure: (why) => this.#answers.onFailure?.(key, why),
    });
    await server.start();
    await this.#stop(key);
    this.#standing.set(key, { bind, server });
  }

  #bindOf(key: ServerKey): BindConfig | undefined {
    return this.#standing.get(key)?.bind;
  }

  async #stop(key: ServerKey): Promise<void> {
    const old = this.#standing.get(key);
    this.#standing.delete(key);
    await old?.server.stop();
  }
}

function sameBind(one: BindConfig | undefined, other: BindConfig | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return bindText(one) === bindText(other);
}

function collide(one: BindConfig | undefined, other: BindConfig | undefined): boolean {
  return one !== undefined && other !== undefined && bindsCollide(one, other);
}

/** Nobody has begun yet. */
function tooEarly(...[, response]: Parameters<HttpHandler>): void {
  response.writeHead(503, { 'Content-Type': 'text/plain; charset=utf-8' }).end('starting\n');
}
