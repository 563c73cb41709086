// The lease by which the control plane knows that a node lives.
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { ObjectApi } from '../../../../src/kubelet/api/object-api.ts';
import { NodeLease } from '../../../../src/kubelet/node/node-lease.ts';
import { apiRig, field, until } from '../support/api-rig.ts';
import type { ApiRig } from '../support/api-rig.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
let rig: ApiRig;
let nodeUid: string | undefined;

beforeEach(async () => {
  rig = await apiRig();
  nodeUid = 'node-uid';
  const { client, clock, log } = rig;
  const kind = { apiVersion: 'coordination.k8s.io/v1', resource: 'leases' };
  const lease = new NodeLease({
    api: new ObjectApi(client, clock, kind),
    name: 'n1',
    seconds: 40,
    nodeUid: () => nodeUid,
    clock,
    log,
    random: () => 0,
  });
  rig.start(async (signal) => lease.run(signal));
});

afterEach(async () => rig.stop());

function spec(name: string): unknown {
  return field(rig.server.object(`${leases}/n1`), 'spec', name);
}

function writes(): number {
  return rig.server.requests.filter(({ method }) => method !== 'GET').length;
}

async function made(): Promise<void> {
  await until('it is there', () => spec('holderIdentity') === 'n1');
}

describe('a lease', () => {
  it('is made in the node’s name, and belongs to the Node', async () => {
    await made();
    expect(rig.server.object(`${leases}/n1`)).toMatchObject({
      metadata: {
        name: 'n1',
        namespace: 'kube-node-lease',
        ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'node-uid' }],
      },
      spec: {
        holderIdentity: 'n1',
        leaseDurationSeconds: 40,
        renewTime: '1970-01-01T00:00:00.000000Z',
      },
    });
  });

  it('is renewed every ten seconds, by one request each', async () => {
    await made();
    const requests = rig.server.requests.length;
    for (const [at, seconds] of [10, 20, 30].entries()) {
      await rig.clock.advance(10_000);
      await until(
        'it is renewed',
        () => spec('renewTime') === `1970-01-01T00:00:${seconds}.000000Z`,
      );
      expect(rig.server.requests).toHaveLength(requests + at + 1);
    }
  });

  test.each([
    [
      'somebody changed meanwhile',
      () => rig.server.put(leases, { metadata: { name: 'n1' }, spec: { other: 1 } }),
    ],
    [
      'somebody deleted',
      () => rig.server.remove('/apis/coordination.k8s.io/v1/leases', 'kube-node-lease/n1'),
    ],
  ])('that %s is had again at once', async (_what, meddle) => {
    await made();
    meddle();
    await rig.clock.advance(10_000);
    await until('it is renewed', () => spec('renewTime') === '1970-01-01T00:00:10.000000Z');
    expect(spec('holderIdentity')).toBe('n1');
  });

  it('is renewed again after the API server was away', async () => {
    await made();
    await rig.server.down();
    for (let seconds = 0; seconds < 120; seconds += 5) await rig.clock.advance(5000);
    expect(rig.lines.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    await rig.server.up();
    const before = writes();
    await rig.clock.advance(7000);
    await until('it is renewed', () => writes() > before && spec('renewTime') !== undefined);
    expect(spec('renewTime')).not.toBe('1970-01-01T00:00:00.000000Z');
  });
});

describe('a lease of a node that is not registered yet', () => {
  beforeEach(() => (nodeUid = undefined));

  it('is made when it is', async () => {
    await until('it was asked for', () => rig.server.requests.length > 0);
    await rig.clock.advance(5000);
    expect(spec('holderIdentity')).toBeUndefined();
    nodeUid = 'later';
    await rig.clock.advance(7000);
    await made();
  });
});
