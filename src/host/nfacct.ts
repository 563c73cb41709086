import { errorText } from '../error.ts';
import type { CountingObject } from '../telemetry/kernel-metrics.ts';
import type { ToolRunner } from './run-tool.ts';

/** Somebody waits for it: a start, or a scrape. */
const timeoutMs = 3000;

/** Makes an object, where it is not there; why it cannot be, else undefined. */
export async function makeCountingObject(
  tools: ToolRunner,
  name: CountingObject,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const { exitCode, stderr } = await tools.run('nfacct', ['add', name], { timeoutMs, signal });
    if (exitCode === 0) return undefined;
    // One that is there is refused as busy, or as existing.
    if ((await readCountedPackets(tools, name, signal)) !== undefined) return undefined;
    return stderr.trim() || `nfacct add ended with ${exitCode}`;
  } catch (error) {
    signal.throwIfAborted();
    return errorText(error); // a tool that is not there, or hangs, must not keep rules from being written
  }
}

/** The packets an object has counted; undefined where there is none. */
export async function readCountedPackets(
  tools: ToolRunner,
  name: CountingObject,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { exitCode, stdout } = await tools.run('nfacct', ['get', name], { timeoutMs, signal });
  const packets = exitCode === 0 ? /\bpkts = (\d+)/.exec(stdout)?.[1] : undefined;
  return packets === undefined ? undefined : Number(packets);
}

/** Removes an object that no rule counts in any more; one that is in use stays. */
export async function removeCountingObject(
  tools: ToolRunner,
  name: CountingObject,
  signal: AbortSignal,
): Promise<void> {
  await tools.run('nfacct', ['del', name], { timeoutMs, signal });
}
