import { Buffer } from 'node:buffer';
import { open } from 'node:fs/promises';
import { isAbsent } from '../../error.ts';
import type { Container } from '../pod/container.ts';
import type { RuntimeContainer } from '../runtime/runtime-pod.ts';

/**
 * Bytes of a termination message: of one from a file, of one from a log, and of all of a pod together (Kubernetes: Determine the Reason for
 * Pod Failure).
 */
const mostOfFile = 4096;
const mostOfLog = 2048;
const mostLines = 80;
const mostOfPod = 12_288;
/** Each line of a log carries a time, a stream and a tag before its content. */
const mostReadOfLog = mostOfLog + mostLines * 64;

/**
 * What a container that has ended left to say: the end of its file, or where it failed without a word and its policy is
 * `FallbackToLogsOnError` the end of its log. Never throws: a file that cannot be read is a message of its own.
 */
export async function readTerminationMessage(
  ended: Pick<RuntimeContainer, 'terminationMessageFile' | 'logPath' | 'exitCode'>,
  { terminationMessagePolicy }: Pick<Container, 'terminationMessagePolicy'>,
): Promise<string> {
  const { terminationMessageFile: file, logPath } = ended;
  try {
    const message = file === '' ? '' : await endOf(file, mostOfFile);
    if (message !== '' || logPath === '' || ended.exitCode === 0) return message;
    if (terminationMessagePolicy !== 'FallbackToLogsOnError') return '';
    return lastLines(await endOf(logPath, mostReadOfLog));
  } catch (error) {
    return `Error on reading termination message: ${String(error)}`;
  }
}

/** How many bytes of message each container of a pod has. */
export function messageShare(containers: number): number {
  return Math.floor(mostOfPod / Math.max(1, containers));
}

/** The first so many bytes; no half characters. */
export function firstBytes(text: string, bytes: number): string {
  const whole = Buffer.from(text);
  if (whole.length <= bytes) return text;
  let end = bytes;
  while (end > 0 && isInside(whole, end)) end -= 1;
  return whole.toString('utf8', 0, end);
}

async function endOf(path: string, bytes: number): Promise<string> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return '';
    throw error;
  }
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - bytes);
    const buffer = Buffer.alloc(size - start);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
    return lastBytes(buffer.subarray(0, bytesRead), bytes);
  } finally {
    await file.close();
  }
}

function lastBytes(whole: Buffer, bytes: number): string {
  let start = Math.max(0, whole.length - bytes);
  // what begins inside of a character would end as one that cannot be read
  while (start < whole.length && isInside(whole, start)) start += 1;
  return whole.toString('utf8', start);
}

/** Whether a byte goes on with a character that began before. */
function isInside(bytes: Buffer, at: number): boolean {
  return ((bytes[at] ?? 0) & 0xc0) === 0x80;
}

/** The content of the last lines of a log as CRI has it: `TIME stream F content`, P in place of F: the line goes on. */
function lastLines(log: string): string {
  let text = '';
  for (const line of log.split('\n')) {
    const [, tag, content] = /^\S+ (?:stdout|stderr) ([FP])(?::\S*)? (.*)$/s.exec(line) ?? [];
    if (content !== undefined) text += tag === 'P' ? content : `${content}\n`;
  }
  const lines = text.replace(/\n$/, '').split('\n').slice(-mostLines);
  return lastBytes(Buffer.from(lines.join('\n')), mostOfLog);
}
