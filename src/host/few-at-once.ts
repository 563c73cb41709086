import type { ToolRunner } from './run-tool.ts';

/** The same tools, no more than `most` of them at a time: whoever asks for many at once waits in turn. */
export function fewAtOnce(tools: ToolRunner, most: number): ToolRunner {
  const waiting: (() => void)[] = [];
  let running = 0;
  return {
    async run(tool, args, options) {
      if (running < most) running++;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await tools.run(tool, args, options);
      } finally {
        // whoever comes next has our place
        const next = waiting.shift();
        if (next === undefined) running--;
        else next();
      }
    },
  };
}
