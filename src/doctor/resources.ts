import type { MachineMemory } from '../host/machine-memory.ts';
import { registered } from './check.ts';
import { ok, skipped, warning } from './finding.ts';
import type { Finding, Way } from './finding.ts';

interface ResourceFacts {
  readonly memory: MachineMemory;
  readonly files: number | undefined;
}

const megabyte = 1024 * 1024;
/** The agent alone, with few Services (docs/performance.md). */
const leastMemory = 128 * megabyte;
/** Two files a connection, and room for some thousand. */
const leastFiles = 16_384;
const relays: readonly Way[] = ['userspace', 'userspace-without-portals'];

/** Memory and open files. */
export const resources = registered<ResourceFacts>({
  id: 'resource',
  read: async (readings) => ({
    memory: await readings.memory(),
    files: await readings.fileLimit(),
  }),
  judge: ({ memory, files }) => [judgeMemory(memory), judgeFiles(files)],
});

function judgeMemory({ total, available, limit }: MachineMemory): Finding {
  const id = 'resource.memory';
  if (available === undefined)
    return skipped(id, 'the kernel does not tell how much memory there is');
  const rest = limit === undefined ? '' : `; this control group may use ${sizeText(limit)}`;
  const text = `${sizeText(available)} of ${sizeText(total ?? available)} are available${rest}`;
  if (limit !== undefined && limit < leastMemory) {
    return warning(
      id,
      text,
      `raise the limit to ${sizeText(leastMemory)} at least, more with many Services`,
    );
  }
  if (available < leastMemory)
    return warning(id, text, 'free memory: the kernel may end the agent');
  return ok(id, text);
}

function judgeFiles(files: number | undefined): Finding {
  const id = 'resource.files';
  if (files === undefined) return skipped(id, 'the limit of open files is not known', relays);
  const text = `a process may have ${files === Infinity ? 'any number of' : files} files open, two for each connection in userspace mode`;
  if (files >= leastFiles) return ok(id, text, relays);
  const cure = 'raise it: LimitNOFILE= of the unit, or ulimit -Hn before the start';
  return warning(id, text, cure, relays);
}

function sizeText(bytes: number): string {
  const megabytes = Math.round(bytes / megabyte);
  return megabytes < 4096 ? `${megabytes} MiB` : `${Math.round(megabytes / 1024)} GiB`;
}
