import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import { requestUrl } from './http-server.ts';
import type { Log } from './log.ts';

/** How much is logged, for who may change it while the process runs. */
export interface Verbosity {
  /** As `-v`. */
  get(): number;
  set(verbosity: number): void;
}

export interface ProfilingOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly verbosity: Verbosity;
}

/** Answers what is asked below /debug; resolves when it has. */
export type DebugHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

const index = `Profiles of this process, for Chrome's developer tools (and whatever else reads V8's formats):
/debug/pprof/profile?seconds=30   CPU, a .cpuprofile
/debug/pprof/allocs?seconds=30    allocations, sampled: a .heapprofile
/debug/pprof/heap                 all that is on the heap, a .heapsnapshot; from this node alone; the process stands still meanwhile
/debug/pprof/statistics           figures of the heap and of the process, JSON
/debug/flags/v                    GET: the log's verbosity; PUT a number to change it
`;
const mostSeconds = 600;
const text = 'text/plain; charset=utf-8';

/** An answer that is no success. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Profiles of the process and its verbosity, at kube-proxy's paths. The formats are V8's own, not Go's. One profile at a
 * time; one whose client goes away ends.
 */
export function profilingHandler(options: ProfilingOptions): DebugHandler {
  const { log, verbosity } = options;
  let isProfiling = false;
  const alone = async (work: () => Promise<void>): Promise<void> => {
    if (isProfiling) throw new Refusal(409, 'another profile is being taken; try again after it');
    isProfiling = true;
    try {
      await work();
    } finally {
      isProfiling = false;
    }
  };
  return async (request, response) => {
    const { pathname, searchParams } = requestUrl(request);
    try {
      switch (pathname) {
        case '/debug/pprof':
        case '/debug/pprof/':
          send(response, text, index);
          break;
        case '/debug/pprof/profile':
        case '/debug/pprof/allocs': {
          const kind = pathname.endsWith('allocs') ? 'allocs' : 'cpu';
          const ms = 1000 * secondsOf(searchParams.get('seconds') ?? '30');
          await alone(async () => record(kind, ms, options, response));
          break;
        }
        case '/debug/pprof/heap':
          refuseOthers(request);
          await alone(async () => sendHeap(response));
          break;
        case '/debug/pprof/statistics':
          send(response, 'application/json', await statistics());
          break;
        case '/debug/flags/v':
          send(response, text, await flagAnswer(request, verbosity, log));
          break;
        default:
          throw new Refusal(404, 'not found');
      }
    } catch (error) {
      refuse(response, error);
    }
  };
}

function send(response: ServerResponse, type: string, body: string): void {
  response.writeHead(200, { 'Content-Type': type, 'X-Content-Type-Options': 'nosniff' }).end(body);
}

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = error instanceof Refusal ? error.status : 500;
  response.writeHead(status, { 'Content-Type': text }).end(`${errorText(error)}\n`);
}

/** All that is on the heap: tokens and keys, too. */
function refuseOthers({ socket: { remoteAddress = '' } }: IncomingMessage): void {
  if (/^(::ffff:)?127\.|^::1$/.test(remoteAddress)) return;
  throw new Refusal(
    403,
    'a heap snapshot holds credentials: ask from the node itself, at 127.0.0.1',
  );
}

function secondsOf(given: string): number {
  const seconds = Number(given);
  if (given !== '' && seconds > 0 && seconds <= mostSeconds) return seconds;
  throw new Refusal(400, `seconds=${given}: expected a number above 0, ${mostSeconds} at most`);
}

function attach(response: ServerResponse, name: string): void {
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Disposition': `attachment; filename="switchyard.${name}"`,
    'X-Content-Type-Options': 'nosniff',
  });
}

/** Watches this process for a while, and sends what was seen. */
async function record(
  kind: 'cpu' | 'allocs',
  ms: number,
  { clock }: ProfilingOptions,
  response: ServerResponse,
): Promise<void> {
  const { Session } = await import('node:inspector/promises');
  const gone = new AbortController();
  response.once('close', () => {
    gone.abort();
  });
  const session = new Session();
  session.connect();
  try {
    if (kind === 'cpu') {
      await session.post('Profiler.enable');
      await session.post('Profiler.start');
    } else await session.post('HeapProfiler.startSampling');
    await clock.sleep(ms, gone.signal);
    const { profile } =
      kind === 'cpu'
        ? await session.post('Profiler.stop')
        : await session.post('HeapProfiler.stopSampling');
    if (gone.signal.aborted) return;
    attach(response, kind === 'cpu' ? 'cpuprofile' : 'heapprofile');
    response.end(JSON.stringify(profile));
  } finally {
    session.disconnect();
  }
}

async function sendHeap(response: ServerResponse): Promise<void> {
  const { getHeapSnapshot } = await import('node:v8');
  attach(response, 'heapsnapshot');
  await pipeline(getHeapSnapshot(), response);
}

async function statistics(): Promise<string> {
  const { getHeapSpaceStatistics, getHeapStatistics } = await import('node:v8');
  const figures = {
    uptimeSeconds: process.uptime(),
    memory: process.memoryUsage(),
    resources: process.resourceUsage(),
    heap: getHeapStatistics(),
    heapSpaces: getHeapSpaceStatistics(),
  };
  return `${JSON.stringify(figures, undefined, 2)}\n`;
}

async function flagAnswer(
  request: IncomingMessage,
  verbosity: Verbosity,
  log: Log,
): Promise<string> {
  if (request.method === 'GET') return `${verbosity.get()}\n`;
  if (request.method !== 'PUT') throw new Refusal(405, 'unsupported http method: GET or PUT');
  const given = (await bodyOf(request)).trim();
  if (!/^\d{1,4}$/.test(given))
    throw new Refusal(
      400,
      `verbosity ${JSON.stringify(given)}: expected a whole number, such as 4`,
    );
  verbosity.set(Number(given));
  log.info({ verbosity: Number(given) }, 'the verbosity was changed at /debug/flags/v');
  return `successfully set logging.verbosity to ${given}\n`;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) {
    body += String(chunk);
    if (body.length > 100) throw new Refusal(400, 'that is too long for a number');
  }
  return body;
}
