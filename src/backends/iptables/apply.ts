import type { Origin } from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { ToolResult, ToolRunner } from '../../host/run-tool.ts';
import { xtablesLockHolder } from '../../host/xtables-lock.ts';
import type { LockPaths } from '../../host/xtables-lock.ts';
import type { Log } from '../../telemetry/log.ts';
import { deletionBatch } from './diff.ts';
import type { Batch, Deletion } from './diff.ts';
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

/** 30,000 services take 4.3 s with the nft variant; a slow machine may take ten times that. */
const restoreTimeoutMs = 300_000;

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
    timeoutMs: restoreTimeoutMs,
    signal,
  });
  if (result.exitCode === 0) {
    const notice = oneLine(result.stderr);
    if (notice !== '')
      port.log.debug({ tool: restore, notice }, 'the tool succeeded with a notice');
    return undefined;
  }
  if (isLockTimeout(result)) throw await lockError(port, restore, result);
  return readRefusal(result, batch);
}

/**
 * Removes chains in one batch and, where that is refused, one by one. Gives those that could not be
 * removed (a foreign rule refers to them); never rejects but for an aborted signal.
 */
export async function deleteChains(
  port: ApplyPort,
  deletions: readonly Deletion[],
  signal: AbortSignal,
): Promise<readonly Deletion[]> {
  if (deletions.length === 0) return [];
  if ((await tryDeletion(port, deletions, signal)) === undefined) return [];
  const left: Deletion[] = [];
  for (const [index, deletion] of deletions.entries()) {
    if (index >= singleDeletions) return [...left, ...deletions.slice(index)];
    const words = await tryDeletion(port, [deletion], signal);
    if (words === undefined) continue;
    left.push(deletion);
    port.log.warn(
      { table: deletion.table, chain: deletion.chain, words },
      'a chain no service needs could not be deleted: a rule of another program may refer to it; it is empty, and is tried again later',
    );
  }
  return left;
}

/** A batch is split only this far: every attempt takes the lock. The rest waits for the next sync. */
const singleDeletions = 64;

/** The reason why the chains could not be deleted, or undefined. */
async function tryDeletion(
  port: ApplyPort,
  deletions: readonly Deletion[],
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const refusal = await restoreBatch(
      port,
      { text: deletionBatch(deletions), origins: [] },
      signal,
    );
    return refusal?.words;
  } catch (error) {
    signal.throwIfAborted();
    return error instanceof Error ? error.message : String(error);
  }
}

/** Exit code 4 alone does not tell: the nft variant uses it for every refusal of the kernel. */
export function isLockTimeout(result: Pick<ToolResult, 'exitCode' | 'stderr'>): boolean {
  return (
    result.exitCode === 4 &&
    /xtables lock|Can't lock|Resource temporarily unavailable|Resource busy/i.test(result.stderr)
  );
}

async function lockError(
  port: ApplyPort,
  tool: string,
  result: ToolResult,
): Promise<SwitchyardError> {
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
  const rule = text === 'COMMIT' ? undefined : text;
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
      hint: 'run `switchyard doctor`: it names the kernel features and tools that are missing',
    },
  );
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, ' ');
}
