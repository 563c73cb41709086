/** What a node shows of a pod of the API server: all of it, with the node's own view of its status. */
import { expect, test } from 'vitest';

import { podKind } from '../../../../src/kubelet/pod/kind.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { shownPod } from '../../../../src/kubelet/status/shown-pod.ts';

const given = {
  metadata: {
    name: 'web',
    namespace: 'shop',
    uid: 'u1',
    resourceVersion: '7',
    generateName: 'web-',
    finalizers: ['example.com/hold'],
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'r1' }],
  },
  spec: {
    nodeName: 'n1',
    schedulingGates: [],
    readinessGates: [{ conditionType: 'shop/Paid' }],
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', unheardOf: true }],
    containers: [
      {
        name: 'app',
        image: 'app:1',
        imagePullPolicy: 'Never',
        resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'NotRequired' }],
        unheardOf: { deep: [1, { two: null }] },
        volumeDevices: [{ name: 'v', devicePath: '/dev/x' }],
      },
    ],
    ephemeralContainers: [{ name: 'debug', image: 'sh:1' }],
    volumes: [
      { name: 'v', persistentVolumeClaim: { claimName: 'c' } },
      { name: 'w', projected: { sources: [{ podCertificate: { keyType: 'ED25519' } }] } },
    ],
    unheardOf: 'x',
  },
  status: { phase: 'Pending', reason: 'Odd', nominatedNodeName: 'n2', unheardOf: [1] },
};

function read(raw: object): Pod {
  const { object } = podKind('n1').slim(raw);
  if (object === undefined) throw new Error('no pod was read');
  return object.pod;
}

test('all fields are there, whether this kubelet knows them or not', () => {
  const managed = { ...given, metadata: { ...given.metadata, managedFields: [{}] } };
  const { metadata, spec } = shownPod(read(managed), {});
  expect({ metadata, spec }).toMatchObject({ metadata: given.metadata, spec: given.spec });
  expect(metadata).not.toHaveProperty('managedFields');
});

test('the status is what this node knows, with what others have written of it', () => {
  const { status } = shownPod(read(given), { phase: 'Running', podIP: '10.0.0.2' });
  expect(status).toEqual({
    phase: 'Running',
    podIP: '10.0.0.2',
    nominatedNodeName: 'n2',
    unheardOf: [1],
  });
});
