import { BaseSequencer } from 'vitest/node';
import type { TestSpecification } from 'vitest/node';

/**
 * Of two shares of the virtual machine's layer, what the first one has: about half of the time. What takes longest comes first in
 * either; vitest itself would count files.
 */
const first = ['ipvs-contract-moving', 'mode-switches', 'chart-pod'].map(fileOf);
const longest = [...first, fileOf('ipvs-contract-standing')];

/** Shares the files of the virtual machine's layer out, and begins with what takes longest. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array's
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => Number(isAmong(longest, b)) - Number(isAmong(longest, a)));
  }

  override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { shard } = this.ctx.config;
    if (shard?.count !== 2 || !files.some((file) => isAmong(first, file)))
      return super.shard(files);
    return files.filter((file) => isAmong(first, file) === (shard.index === 1));
  }
}

function fileOf(name: string): string {
  return `test/vm/${name}.test.ts`;
}

function isAmong(names: readonly string[], { moduleId }: TestSpecification): boolean {
  return names.some((name) => moduleId.endsWith(name));
}
