import { describe, expect, it } from 'vitest';
import { leftOut, listReason } from '../../../src/services/choice-reasons.ts';
import { chooseEndpoints } from '../../../src/services/choose-endpoints.ts';
import type { ChoosingPort } from '../../../src/services/choose-endpoints.ts';
import type { ChoiceList, Endpoint, EndpointChoice } from '../../../src/services/service-port.ts';
import { endpoint, servicePort } from '../../support/service-ports.ts';

const node = { nodeName: 'node-1', zone: 'a' };
const cluster: ChoosingPort = servicePort();
const internal: ChoosingPort = servicePort({ internalPolicy: 'Local' });
const external: ChoosingPort = servicePort({ externalPolicy: 'Local', nodePort: 30_080 });
const draining = { ready: false, terminating: true };
const gone = { ready: false, serving: false, terminating: true };

const here = (state: Partial<Endpoint> = {}) =>
  endpoint('10.244.1.1:80', { local: true, ...state });
const there = (state: Partial<Endpoint> = {}) => endpoint('10.244.2.2:80', state);

function reasons(choice: EndpointChoice, list: ChoiceList): readonly string[] {
  return leftOut(choice, list).map(({ endpoint: { address }, reason }) => `${address}: ${reason}`);
}

const hints = (zoneHints: readonly string[], nodeHints: readonly string[] = []) => ({
  zoneHints,
  nodeHints,
});

describe('why an endpoint is left out', () => {
  it.each<readonly [string, ChoosingPort, readonly Endpoint[], ChoiceList, readonly string[]]>([
    ['not ready', cluster, [here(), there({ ready: false })], 'cluster', ['10.244.2.2: not ready']],
    [
      'terminating beside ready ones',
      cluster,
      [here(), there(draining)],
      'cluster',
      ['10.244.2.2: terminating, and others are ready'],
    ],
    [
      'no longer serving',
      cluster,
      [there(gone)],
      'cluster',
      ['10.244.2.2: terminating and no longer serving'],
    ],
    [
      'hinted for other zones',
      cluster,
      [here({ zoneHints: ['a'] }), there({ zoneHints: ['b'] })],
      'cluster',
      ['10.244.2.2: hinted for other zones'],
    ],
    [
      'hinted for other nodes',
      cluster,
      [here({ nodeHints: ['node-1'] }), there({ nodeHints: ['node-2'] })],
      'cluster',
      ['10.244.2.2: hinted for other nodes'],
    ],
    [
      'on another node',
      internal,
      [here(), there()],
      'local',
      ['10.244.2.2: on another node, and the traffic policy is Local'],
    ],
    [
      'on another node, though it would take over there',
      internal,
      [there(draining)],
      'local',
      ['10.244.2.2: on another node, and the traffic policy is Local'],
    ],
    [
      'in the cluster’s list but not in this node’s',
      external,
      [here(), there()],
      'local',
      ['10.244.2.2: on another node, and the traffic policy is Local'],
    ],
    [
      'in this node’s list but not in the cluster’s',
      external,
      [here(draining), there()],
      'cluster',
      ['10.244.1.1: terminating, and others are ready'],
    ],
    ['none', cluster, [here(), there()], 'cluster', []],
  ])('%s', (_, port, all, list, expected) => {
    expect(reasons(chooseEndpoints(all, port, node), list)).toEqual(expected);
  });

  it('is told of every endpoint in neither list', () => {
    const { skipped } = chooseEndpoints([here({ ready: false }), there(draining)], internal, node);
    expect(skipped.map(({ reason }) => reason)).toEqual([
      'not ready',
      'on another node, and the traffic policy is Local',
    ]);
  });
});

describe('why the list is what it is', () => {
  it.each<readonly [ChoosingPort, readonly Endpoint[], ChoiceList, string]>([
    [cluster, [], 'cluster', 'there is no endpoint'],
    [cluster, [here(gone)], 'cluster', 'no endpoint is ready'],
    [
      cluster,
      [here(draining)],
      'cluster',
      'nothing is ready: endpoints that still serve while they terminate take over',
    ],
    [cluster, [here()], 'cluster', 'no endpoint has a hint for this node or zone'],
    [cluster, [here(hints(['a'])), there()], 'cluster', '1 of 2 ready endpoints have no zone hint'],
    [
      cluster,
      [here(hints([], ['node-1'])), there()],
      'cluster',
      '1 of 2 ready endpoints have no node hint',
    ],
    [
      cluster,
      [there(hints([], ['node-2']))],
      'cluster',
      'no ready endpoint is hinted for node node-1, and none has a zone hint',
    ],
    [cluster, [there(hints(['b']))], 'cluster', 'no ready endpoint is hinted for zone a'],
    [
      cluster,
      [there(hints(['a']))],
      'cluster',
      'all ready endpoints have zone hints, some for zone a',
    ],
    [cluster, [here(hints(['b'], ['node-1']))], 'cluster', 'endpoints are hinted for node node-1'],
    [
      internal,
      [here()],
      'local',
      'the traffic policy is Local: the endpoints on this node, which hints never narrow',
    ],
    [
      internal,
      [here(draining)],
      'local',
      'nothing on this node is ready: endpoints of it that still serve while they terminate take over',
    ],
    [internal, [there()], 'local', 'no endpoint on this node can be used'],
  ])('case %#: %4$s', (port, all, list, expected) => {
    expect(listReason(chooseEndpoints(all, port, node), list)).toBe(expected);
  });

  it.each([undefined, ''])('a node whose zone is %j', (zone) => {
    const choice = chooseEndpoints([here(hints(['a']))], cluster, { nodeName: 'node-1', zone });
    expect(listReason(choice, 'cluster')).toBe('this node has no zone label');
  });
});

describe('what health checks count', () => {
  it.each([
    ['policies Cluster', cluster],
    ['internal policy Local', internal],
    ['external policy Local', external],
  ])('is ready on this node, with %s', (_, port) => {
    const all = [here(), there(), endpoint('10.244.1.3:80', { local: true, ...draining })];
    expect(chooseEndpoints(all, port, node).localReady).toEqual([here()]);
  });
});
