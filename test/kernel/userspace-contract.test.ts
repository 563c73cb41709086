// The userspace mode does what every backend has to do, but for the deviations that docs/adr/0010-userspace-layout.md lists.
import { join } from 'node:path';
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from './contract.ts';
import type { BackendContract } from './contract-suite.ts';
import { iptablesContract } from './iptables-contracts.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

function contract(variant: 'legacy' | 'nft'): BackendContract {
  return {
    ...iptablesContract(variant),
    start: (lab, flags) =>
      lab.startAgent([
        '--proxy-mode=userspace',
        `--userspace-state-file=${join(lab.folder, 'userspace.json')}`,
        '--userspace-workers=2',
        ...flags,
      ]),
    deviations: new Set(['source']),
    skip: [
      {
        reason: 'connections end with the process that carries them: userspace-agent.test.ts',
        tests: ['restart', 'affinity-300'],
      },
    ],
  };
}

describe.skipIf(!able)('userspace mode (needs root on Linux: it makes network namespaces)', () => {
  for (const variant of ['nft', 'legacy'] as const) backendContract(contract(variant));
});
