import type { LoggingConfig, ProxyConfig } from '../config/proxy-config.ts';
import { FileWatch } from '../informer/file-watch.ts';
import { Agent } from './agent.ts';
import type { AgentOptions } from './agent-options.ts';
import type { LivePart } from './config-effects.ts';
import { hasRules } from './has-rules.ts';
import { adjustOomScore } from '../host/oom-score.ts';
import { tuneConntrack } from './kernel-settings.ts';
import { LastingParts } from './lasting-parts.ts';
import type { ConfigReading } from './supervised-run.ts';
import { Supervisor } from './supervisor.ts';

/** A configuration file that is followed. */
export interface FollowedFile {
  readonly path: string;
  /** What it held at the start. */
  readonly text: string;
  /** Reads and validates another text; throws an error that names each field that cannot be used. */
  readonly read: (text: string) => ConfigReading;
  /** Calls back whenever somebody asks for another look: SIGHUP; returns what ends that. */
  readonly onAsked: (look: () => void) => () => void;
}

/** What a process needs to run agents, one after the other. */
export interface SupervisedOptions {
  readonly first: ConfigReading;
  /** All that agents need but their configuration. */
  readonly agent: Omit<AgentOptions, 'config' | 'effectiveConfig'>;
  /** Left out: the configuration stays what it is. */
  readonly file?: FollowedFile | undefined;
  /** Goes on logging like this. */
  readonly setLogging: (logging: LoggingConfig) => Promise<void>;
}

/** Runs the proxy until `signal` aborts, on whatever the configuration file says. Rejects where it cannot start. */
export async function runSupervised(
  { first, agent, file, setLogging }: SupervisedOptions,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, sysctls } = agent;
  const lasting = new LastingParts(agent);
  const adopters: Readonly<Record<LivePart, (config: ProxyConfig) => Promise<void>>> = {
    log: async ({ logging }) => setLogging(logging),
    servers: async (config) => lasting.servers.listenAt(config),
    process: async (config) => {
      if (hasRules(config)) await adjustOomScore(config.oomScoreAdj, log);
    },
    kernel: async (config) => {
      if (hasRules(config)) await tuneConntrack(config.conntrack, sysctls, log);
    },
    // The agent takes these up by itself.
    rules: async () => {},
    periods: async () => {},
    nobody: async () => {},
  };
  let isFirst = true;
  /** With the first rules of a later agent the one before it is not gone yet. */
  const tidyOnce = (): void => {
    if (isFirst) agent.onFirstRules();
    isFirst = false;
  };
  const supervisor = new Supervisor({
    first,
    read: (text) => file?.read(text) ?? first,
    open: (config, onFirstRules) =>
      new Agent(
        {
          ...agent,
          config,
          ...(first.effective && { effectiveConfig: () => supervisor.reading.effective?.() ?? {} }),
          onFirstRules: () => {
            lasting.settled();
            tidyOnce();
            onFirstRules();
          },
        },
        lasting,
      ),
    adopt: async (part, config) => adopters[part](config),
    onInForce: ({ features = [] }) => {
      lasting.metrics.features(features);
    },
    onRetired: agent.onFirstRules,
    close: async () => lasting.close(),
    metrics: lasting.metrics.config,
    clock,
    log,
  });
  const stop = new AbortController();
  const { watching, ignore } = follow(file, supervisor, agent, stop.signal);
  try {
    await supervisor.run(signal);
  } finally {
    ignore();
    stop.abort();
    await watching;
  }
}

function follow(
  file: FollowedFile | undefined,
  supervisor: Supervisor,
  { clock, log }: SupervisedOptions['agent'],
  signal: AbortSignal,
): { readonly watching: Promise<void>; readonly ignore: () => void } {
  if (file === undefined) return { watching: Promise.resolve(), ignore: () => {} };
  const watch = new FileWatch({
    path: file.path,
    known: file.text,
    clock,
    log,
    onContent: (content) => {
      supervisor.offer(content);
    },
  });
  const ignore = file.onAsked(() => {
    log.info({}, 'asked to read the configuration again');
    watch.ask();
  });
  const watching = watch.run(signal).catch((error: unknown) => {
    log.error({ err: error, path: file.path }, 'the configuration file is followed no more');
  });
  return { watching, ignore };
}
