import process from 'node:process';
import { systemCode } from '../error.ts';

/** Whether a process of this id runs, be it somebody else's. */
export function processLives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(systemCode(error) === 'ESRCH');
  }
}

/** Ends a process at once; one that has ended meanwhile is none to worry about. */
export function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}
