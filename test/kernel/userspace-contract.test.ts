// The userspace mode does what every backend has to do, but for the deviations that docs/adr/0010-userspace-layout.md lists.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe } from 'vitest';
import { loopbackAddresses } from '../../src/backends/userspace/loopback-addresses.ts';
import type { Question } from '../../src/cli/demo/actor.ts';
import type { ServiceName } from '../../src/services/service-port.ts';
import type { NodeLab } from '../support/node-lab.ts';
import { backendContract } from './contract.ts';
import type { BackendContract } from './contract-suite.ts';
import { iptablesContract } from './iptables-contracts.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

function flagsOf(lab: NodeLab): readonly string[] {
  return [
    '--proxy-mode=userspace',
    `--userspace-state-file=${join(lab.folder, 'userspace.json')}`,
    '--userspace-workers=2',
  ];
}

function contract(variant: 'legacy' | 'nft'): BackendContract {
  return {
    ...iptablesContract(variant),
    start: (lab, flags) => lab.startAgent([...flagsOf(lab), ...flags]),
    deviations: new Set(['source']),
    skip: [
      {
        reason:
          'connections end with the process that carries them (userspace-agent.test.ts), and whom clients stay with is its memory (docs/userspace.md)',
        tests: ['restart'],
      },
    ],
  };
}

/** Without portals the node alone is a client, of the places that Services have there. */
const withoutPortals: BackendContract = {
  ...contract('nft'),
  name: 'without portals',
  start: (lab, flags) => {
    const placeOf = places(lab);
    lab.route = (_actor, question) => ['node', placeOf(question)];
    return lab.startAgent([...flagsOf(lab), '--userspace-portals=none', ...flags]);
  },
  deviations: new Set(['source', 'reset', 'places']),
  skip: [
    ...contract('nft').skip,
    {
      reason: 'addresses that are not of this machine are not served: userspace-none.test.ts',
      deviation: 'places',
      tests: [
        'external',
        'load-balancer',
        'dual-stack',
        'policies',
        'source-ranges',
        'shared-prefix',
      ],
    },
    {
      reason: 'nobody but the node reaches loopback addresses',
      deviation: 'places',
      tests: ['hairpin', 'masquerade'],
    },
    {
      reason:
        'a listener that gets affinity may reset who is just being let in (docs/userspace.md)',
      tests: ['reshaping'],
    },
    { reason: 'there are no rules', tests: ['foreign-flush', 'forward-drop'] },
    {
      reason: 'who listens on all addresses of the machine has those of Services, too',
      deviation: 'places',
      tests: ['tide'],
    },
    { reason: 'Node has no sockets for it', deviation: 'SCTP', tests: ['sctp'] },
  ],
};

/** Where a question has to go: a Service's own loopback address, a node port at 127.0.0.1. */
function places(lab: NodeLab): (question: Question) => Question {
  const known = new Map<string, string>();
  const look = (clusterIP: string): string | undefined => {
    for (const file of readdirSync(lab.manifests)) {
      for (const text of readFileSync(join(lab.manifests, file), 'utf8').split('\n---\n')) {
        const { kind, metadata, spec } = JSON.parse(text) as {
          readonly kind: string;
          readonly metadata: { readonly name: string };
          readonly spec?: { readonly clusterIPs?: readonly string[] };
        };
        if (kind !== 'Service' || !spec?.clusterIPs?.includes(clusterIP)) continue;
        return loopbackAddresses([`default/${metadata.name}` as ServiceName])
          .values()
          .next().value;
      }
    }
    return undefined;
  };
  return ({ to, from, ...question }) => {
    if (question.port >= 30_000) return { ...question, to: '127.0.0.1' };
    const place = known.get(to) ?? look(to) ?? '127.0.99.99';
    known.set(to, place);
    // the loopback device has as many clients as it has addresses
    return { ...question, to: place, ...(from && { from: from.replace(/^198\./, '127.') }) };
  };
}

describe.skipIf(!able)('userspace mode (needs root on Linux: it makes network namespaces)', () => {
  for (const variant of ['nft', 'legacy'] as const) backendContract(contract(variant));
  backendContract(withoutPortals);
});
