import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layOut, releaseFiles } from '../../scripts/release.ts';

/** A release as it is when it is unpacked, with a Node that only says who it is: the real one is 120 MB. */
export async function unpackedRelease(folder: string, version: string): Promise<string> {
  const made = join(folder, `made-${version}`);
  const unpacked = join(folder, `switchyard-${version}`);
  mkdirSync(made, { recursive: true });
  const node = join(made, 'node');
  writeFileSync(node, `#!/bin/sh\necho node of ${version}: "$@"\n`);
  chmodSync(node, 0o755);
  const program = join(made, 'switchyard.mjs');
  writeFileSync(program, `// ${version}\n`);
  await layOut(releaseFiles(node, program), version, unpacked);
  return unpacked;
}
