import type { Origin } from '../../graph/rule-graph.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { ToolResult, ToolRunner } from '../../host/run-tool.ts';
import { xtablesLockHolder } from '../../host/xtables-lock.ts';
import type { LockPaths } from '../../host/xtables-lock.ts';
import type { Log } from '../../telemetry/log.ts';
import { findRefused } from './bisect.ts';
import type { Refused } from './bisect.ts';
import { deletionBatch, flushBatch } from './diff.ts';
import type { Deletion } from './diff.ts';
import type { Batch } from './restore-file.ts';
import { restoreArgs } from './variant.ts';
import type { IptablesTools } from './variant.ts';

/** What applying needs of the machine. */
export interface ApplyPort {
  readonly tools: ToolRunner;
  readonly iptables: IptablesTools;
  readonly log: Log;
  readonly lockPaths: LockPaths;
}

/** The tool or the kernel would not take a batch because of what stands in it. */
export interface Refusal {
  /** The tool's own words, one line. */
  readonly words: string;
  /** Counted from 1; undefined where the tool names none. */
  readonly line: number | undefined;
  /** The text of that line, unless it is a COMMIT: then any line of the table may be meant. */
  readonly rule: string | undefined;
  readonly origin: Origin | undefined;
}

/**
 * 30,000 services take 4.3 s with the nft variant; a slow machine may take fifty times that. Nothing else is written
 * meanwhile, so that a tool that hangs must not cost a small node as much.
 */
const leastRestoreTimeoutMs = 60_000;
const restoreTimeoutMsPerLine = 1;

/**
 * One iptables-restore. Gives the refusal where the batch's content is at fault; rejects where it is
 * not (lock held: code `timeout`, retryable, the holder named; tool missing; killed).
 * Each table of a batch is committed by itself: tables before the refused one are in.
 */
export async function restoreBatch(
  port: ApplyPort,
  batch: Batch,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const { restore } = port.iptables;
  const result = await port.tools.run(restore, restoreArgs(port.iptables), {
    input: batch.text,
    timeoutMs: leastRestoreTimeoutMs + restoreTimeoutMsPerLine * batch.origins.length,
    signal,
  });
  if (result.exitCode === 0) {
    const notice = oneLine(result.stderr);
    if (notice !== '')
      port.log.debug({ tool: restore, notice }, 'the tool succeeded with a notice');
    return undefined;
  }
  if (isLockFailure(result)) throw await lockError(port, restore, result);
  return readRefusal(result, batch);
}

/**
 * Removes chains, all in one batch where that goes. Where it does not (a foreign rule refers to one), all are
 * emptied, and those at fault are found and left. Gives the chains that are still there; never rejects but
 * for an aborted signal.
 */
export async function deleteChains(
  port: ApplyPort,
  deletions: readonly Deletion[],
  signal: AbortSignal,
): Promise<readonly Deletion[]> {
  if (deletions.length === 0) return [];
  try {
    const refused = await deleteWhatGoes(port, deletions, signal);
    for (const { item, words } of refused) {
      port.log.warn(
        { table: item.table, chain: item.chain, words },
        'a chain no service needs could not be deleted: a rule of another program may refer to it; it is empty, and is tried again later',
      );
    }
    return refused.map(({ item }) => item);
  } catch (error) {
    signal.throwIfAborted();
    port.log.warn(
      { chains: deletions.length },
      `chains were not deleted, tried again later: ${errorText(error)}`,
    );
    return deletions;
  }
}

/** Every attempt takes the lock: what is not found within so many waits for the next sync. */
const deletionAttempts = 64;

async function deleteWhatGoes(
  port: ApplyPort,
  deletions: readonly Deletion[],
  signal: AbortSignal,
): Promise<readonly Refused<Deletion>[]> {
  const run = async (text: string): Promise<Refusal | undefined> =>
    restoreBatch(port, { text, origins: [] }, signal);
  if ((await run(deletionBatch(deletions))) === undefined) return [];
  // Empty chains refer to nothing, so that each can be deleted whatever happens to the others.
  const refusal = await run(flushBatch(deletions));
  if (refusal !== undefined) return deletions.map((item) => ({ item, words: refusal.words }));
  const attempt = async (group: readonly Deletion[]) => {
    const refused = await run(deletionBatch(group));
    return refused && { words: refused.words, culprit: undefined };
  };
  return findRefused(deletions, attempt, deletionAttempts);
}

/**
 * Whether a run did not get the xtables lock, which says nothing of the rules. Exit code 4 alone does not tell: the
 * nft variant uses it for every refusal of the kernel.
 */
export function isLockFailure(result: Pick<ToolResult, 'exitCode' | 'stderr'>): boolean {
  const words = /xtables lock|Can't lock|Resource temporarily unavailable/i;
  return result.exitCode === 4 && (words.test(result.stderr) || cannotOpenLock(result));
}

/** `Fatal: can't open lock file /run/xtables.lock: Read-only file system` */
function cannotOpenLock({ stderr }: Pick<ToolResult, 'stderr'>): boolean {
  return /can't open lock file/i.test(stderr);
}

/** The error of a run that did not get the xtables lock; names who holds it, or that its file cannot be opened. */
export async function lockError(
  port: Pick<ApplyPort, 'lockPaths'>,
  tool: string,
  result: ToolResult,
): Promise<SwitchyardError> {
  if (cannotOpenLock(result)) {
    const { lockFile } = port.lockPaths;
    return new SwitchyardError('tool', `${tool} cannot take its lock: ${oneLine(result.stderr)}`, {
      retryable: true,
      hint: `make ${lockFile} writable: in a pod, mount the host's; XTABLES_LOCKFILE names another that all programs of the node share`,
    });
  }
  const holder = await xtablesLockHolder(port.lockPaths);
  const who =
    holder === undefined
      ? 'another program'
      : `process ${holder.pid} (${holder.name ?? 'name unknown'})`;
  return new SwitchyardError(
    'timeout',
    `${tool} waited 5 s for the xtables lock (${port.lockPaths.lockFile}), which ${who} holds: ${oneLine(result.stderr)}`,
    {
      retryable: true,
      hint: 'the sync is tried again; look at what that program does with iptables',
    },
  );
}

/** Reads line numbers as legacy (`line 9 failed`, `Error occurred at line: 8`) and nft (`line 8: RULE_APPEND failed`) print them. */
export function readRefusal(
  result: Pick<ToolResult, 'exitCode' | 'stderr'>,
  batch: Batch,
): Refusal {
  const match = /\bline:? (\d+)/.exec(result.stderr);
  const line = match === null ? undefined : Number(match[1]);
  const text = line === undefined ? undefined : batch.text.split('\n', line)[line - 1];
  const rule = text === 'COMMIT' || text === '' ? undefined : text;
  return {
    words: refusalWords(result),
    line,
    rule,
    origin: rule === undefined || line === undefined ? undefined : batch.origins[line - 1],
  };
}

/** The tool's words without the invitation to read its manual. */
function refusalWords(result: Pick<ToolResult, 'exitCode' | 'stderr'>): string {
  const lines = result.stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(Try `|Error occurred at line|# Warning)/.test(line));
  const words = lines.join(' ').replace(/^ip6?tables\S* v[\d.]+ \((?:legacy|nf_tables)\): */, '');
  return words === '' ? `exit code ${result.exitCode}` : words;
}

/** Where kernel or tools refuse everything. */
export const missingCure =
  'start the agent again: it then names the kernel features and tools that are missing';

/** A refusal as the error of a sync that could not leave the bad part out. */
export function refusalError(tool: string, refusal: Refusal): SwitchyardError {
  const where = refusal.line === undefined ? '' : ` at line ${refusal.line}`;
  const what = refusal.rule === undefined ? '' : `, rule "${refusal.rule}"`;
  const whose = refusal.origin === undefined ? '' : `, for ${refusal.origin.name}`;
  return new SwitchyardError(
    'tool',
    `${tool} refused the rules${where}${what}${whose}: ${refusal.words}`,
    {
      retryable: true,
      hint: missingCure,
    },
  );
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, ' ');
}
