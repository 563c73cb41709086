import type { After } from './dialer.ts';

interface Timeout {
  readonly at: number;
  readonly action: () => void;
}

/**
 * Time-outs of a few lengths, almost all of which are stopped before their time: one timer a length, which is left running when a
 * time-out is stopped: a timer each would be a part of what a short connection costs.
 */
export function fewTimers(after: After, now: () => number): After {
  const queues = new Map<number, Set<Timeout>>();
  const wait = (queue: Set<Timeout>, ms: number): void => {
    after(ms, () => {
      for (const timeout of queue) {
        if (timeout.at > now()) {
          wait(queue, timeout.at - now());
          return;
        }
        queue.delete(timeout);
        timeout.action();
      }
      for (const [length, each] of queues) if (each === queue) queues.delete(length);
    });
  };
  return (ms, action) => {
    let queue = queues.get(ms);
    if (queue === undefined) {
      queue = new Set();
      queues.set(ms, queue);
      wait(queue, ms);
    }
    const own = queue;
    const timeout = { at: now() + ms, action };
    own.add(timeout);
    return () => {
      own.delete(timeout);
    };
  };
}
