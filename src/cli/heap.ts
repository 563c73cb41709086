import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Sets V8 for a process that lives for months and does little: the young generation stays as small as it
 * starts, where the first lists would make it grow to 32 MB and more for good, and the last stage of the compiler,
 * whose own code and work space cost more than it saves here, is left out. Unlike --max-semi-space-size,
 * these flags count whenever they are set. docs/adr/0006-memory.md has the figures.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
}

/**
 * For a process that carries bytes itself (userspace mode), once the start with its long lists is over: from now on what is hot is
 * compiled well, which costs memory only under load and is worth a tenth of the connections a second (docs/performance.md).
 */
export function compileWhatIsHot(): void {
  setFlagsFromString('--opt');
}

/** Gives back what is garbage, and the pages it lay on. Stops the process for as long as it takes to look at all that lives. */
export function shrinkHeap(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
