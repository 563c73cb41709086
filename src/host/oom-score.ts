import { writeFile } from 'node:fs/promises';
import { errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';

/** Tells the kernel how much to spare this process when memory runs out; a failure is only logged. */
export async function adjustOomScore(
  score: number,
  log: Log,
  path = '/proc/self/oom_score_adj',
): Promise<void> {
  try {
    await writeFile(path, String(score));
  } catch (error) {
    log.warn({ score, path }, `cannot set the OOM score: ${errorText(error)}`);
  }
}
