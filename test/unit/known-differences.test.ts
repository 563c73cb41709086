// Which answers of upstream's proxy the comparison takes for a known difference: those of the row, and no others.
import { describe, expect, it } from 'vitest';
import { Expectation, expectationOf } from '../upstream/expectation.ts';
import { rowOf } from '../upstream/known-differences.ts';
import { sliceOf } from '../upstream/objects.ts';
import type { RawService, RawServiceSpec } from '../upstream/objects.ts';
import { podAddress } from '../upstream/place.ts';
import { questionsOf } from '../upstream/questions.ts';
import type { LabQuestion } from '../upstream/questions.ts';
import type { Made } from '../upstream/twin-cluster.ts';

type Pod = 'pod-a' | 'pod-b';

/** A Service as the API server answers it, with a pod of its own or none. */
function made(name: string, createdAt: number, spec: RawServiceSpec, pod?: Pod, ip?: string): Made {
  const service: RawService = {
    metadata: { name, creationTimestamp: `2026-01-01T00:00:0${createdAt}Z` },
    spec: {
      type: 'LoadBalancer',
      ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
      clusterIPs: [spec.clusterIP ?? ''],
      ipFamilies: ['IPv4'],
      ...spec,
    },
    ...(ip !== undefined && { status: { loadBalancer: { ingress: [{ ip }] } } }),
  };
  const endpoints = pod && [
    { addresses: [podAddress(pod, 'ipv4')], nodeName: 'node-a', conditions: { ready: true } },
  ];
  const ports = [{ name: 'http', protocol: 'TCP', port: 8080 }];
  const slice = sliceOf(name, 0, { addressType: 'IPv4', ports, endpoints: endpoints ?? [] });
  return { bundle: name, services: [service], slices: [slice] };
}

const externalIP = '172.16.0.1';
const nodeIP = '192.0.2.1';
const [podA, podB] = ['10.244.0.5:8080', '10.244.0.6:8080'];
const every = [
  'refused',
  'timeout',
  'pass',
  'moves',
  ...[podA, podB].flatMap((pod) => [`${pod} kept`, `${pod} replaced`]),
];

interface Case {
  readonly row: string;
  readonly objects: readonly Made[];
  readonly flags?: readonly string[];
  readonly asked: Partial<LabQuestion>;
  readonly ours: string;
  /** All that upstream may answer, or its rules mean, by this row. */
  readonly theirs: readonly string[];
}

const older = made('b', 1, { clusterIP: '10.96.0.1', externalIPs: [externalIP] }, 'pod-a');
const younger = made('a', 2, { clusterIP: '10.96.0.2', externalIPs: [externalIP] }, 'pod-b');

const cases: readonly Case[] = [
  {
    row: "the node's own connection to an external or load balancer address of a service without endpoints",
    objects: [made('empty', 1, { clusterIP: '10.96.0.1', externalIPs: [externalIP] })],
    asked: { actor: 'node', frontend: 'external IP' },
    ours: 'refused',
    theirs: ['timeout', 'pass'],
  },
  {
    row: 'node port of a service without (local) endpoints, on an address that `--nodeport-addresses` leaves out',
    objects: [
      made('closed', 1, {
        clusterIP: '10.96.0.1',
        ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_001 }],
      }),
    ],
    flags: ['--nodeport-addresses=192.0.2.0/24'],
    asked: { actor: 'client', frontend: 'node port on another address' },
    ours: 'refused',
    theirs: ['timeout'],
  },
  {
    row: 'two services that claim one address, port and protocol',
    objects: [younger, older],
    asked: { service: 'a', actor: 'client', frontend: 'external IP' },
    ours: `${podA} replaced`,
    theirs: [`${podB} replaced`],
  },
  {
    row: 'two services that claim one address, port and protocol',
    objects: [
      older,
      made('young', 2, { clusterIP: '10.96.0.2', externalIPs: ['10.96.0.1'] }, 'pod-b'),
    ],
    asked: { service: 'b', actor: 'client', frontend: 'cluster IP' },
    ours: `${podA} replaced`,
    theirs: [`${podB} replaced`],
  },
  {
    row: "an external IP that is the node's own address, on the number of another service's node port",
    objects: [
      made(
        'holder',
        1,
        {
          clusterIP: '10.96.0.1',
          ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_001 }],
        },
        'pod-a',
      ),
      made(
        'claimer',
        2,
        {
          clusterIP: '10.96.0.2',
          externalIPs: [nodeIP],
          ports: [{ name: 'http', protocol: 'TCP', port: 30_001 }],
        },
        'pod-b',
      ),
    ],
    asked: { service: 'claimer', actor: 'client', frontend: 'external IP' },
    ours: `${podA} replaced`,
    theirs: [`${podB} replaced`],
  },
  {
    row: 'an address that is both load balancer and external IP of one service with `loadBalancerSourceRanges`',
    objects: [
      made(
        'opened',
        1,
        {
          clusterIP: '10.96.0.1',
          externalIPs: [externalIP],
          loadBalancerSourceRanges: ['198.51.100.0/24'],
        },
        'pod-a',
        externalIP,
      ),
    ],
    asked: { actor: 'client', frontend: 'external IP' },
    ours: 'timeout',
    theirs: [`${podA} replaced`],
  },
];

describe('a known difference is one of these answers only:', () => {
  it.each(cases)('$row', ({ row, objects, flags = [], asked, ours, theirs }) => {
    const judge = judgeOf(objects, flags, asked);
    expect(judge.wanted).toEqual([ours]);
    const rows = every
      .filter((text) => text !== ours)
      .map((text) => [text, judge.row([ours], [text])]);
    expect(rows.filter(([, found]) => found !== undefined)).toEqual(
      theirs.map((text) => [text, row]),
    );
    // Were ours to answer so, nobody would know of it.
    for (const text of theirs) expect(judge.row([text], [text])).toBeUndefined();
    expect(judge.row([ours], [...theirs, `${podA} kept`])).toBeUndefined();
  });

  it('ClientIP affinity', () => {
    const objects = [made('sticky', 1, { clusterIP: '10.96.0.1' }, 'pod-a')];
    const { row, wanted } = judgeOf(
      objects,
      [],
      { actor: 'client', frontend: 'cluster IP' },
      'returning clients',
    );
    expect(row(wanted, ['moves', ...wanted])).toBe('ClientIP affinity');
    for (const theirs of [[], [`${podB} kept`], ['timeout', ...wanted], ['moves', 'refused']]) {
      expect(row(wanted, theirs)).toBeUndefined();
    }
    expect(row(['moves', ...wanted], ['moves', ...wanted])).toBeUndefined();
  });
});

/** Who is asked, what is wanted, and the row of answers. */
function judgeOf(
  objects: readonly Made[],
  flags: readonly string[],
  asked: Partial<LabQuestion>,
  frontend?: LabQuestion['frontend'],
) {
  const found = objects
    .flatMap(questionsOf)
    .find((each) =>
      Object.entries(asked).every(([key, value]) => each[key as keyof LabQuestion] === value),
    );
  if (found === undefined) throw new Error(`nobody asks ${JSON.stringify(asked)}`);
  const question = frontend === undefined ? found : { ...found, frontend };
  const expectation = new Expectation(objects, flags);
  const [wanted, outcomes] = [expectation.answers(question), expectation.outcomes(question)];
  const where = {
    services: objects.flatMap(({ services }) => services),
    graph: expectation.graphs.ipv4,
    alone: (service: RawService) => expectationOf(service, objects, flags),
  };
  const row = (ours: readonly string[], theirs: readonly string[]): string | undefined =>
    rowOf({ question, outcomes, wanted, ours, theirs }, where);
  return { wanted, row };
}
