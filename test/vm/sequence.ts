import { BaseSequencer } from 'vitest/node';
import type { TestSpecification } from 'vitest/node';

/** Takes longest of the virtual machine's layer, though the file is short: the contract stands elsewhere. */
const longest = 'test/vm/ipvs-contract.test.ts';

/** What takes longest, and asks most, begins first; of two shares of that layer it is one. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array's
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => Number(isLongest(b)) - Number(isLongest(a)));
  }

  override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { shard } = this.ctx.config;
    if (shard?.count !== 2 || !files.some(isLongest)) return super.shard(files);
    return files.filter((file) => isLongest(file) === (shard.index === 1));
  }
}

function isLongest({ moduleId }: TestSpecification): boolean {
  return moduleId.endsWith(longest);
}
