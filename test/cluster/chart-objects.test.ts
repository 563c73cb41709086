// A real API server takes each object that the chart renders, strictly: no field that it does not know, nor of another type.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { neededSchemas } from '../support/api-schemas.ts';
import type { Schema, Schemas } from '../support/api-schemas.ts';
import { objectsOf } from '../support/helm.ts';
import type { Rendered } from '../support/helm.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';
import type { ApiAnswer } from './control-plane.ts';
import { ControlPlane } from './control-plane.ts';
import crds from './monitoring-crds.json' with { type: 'json' };

const blocked = ControlPlane.blocked();
const folder = join(import.meta.dirname, '../unit/chart');

/** The kinds of the chart, and which of the server's documents speaks of each. */
const kinds: Readonly<Record<string, string>> = {
  'v1 ServiceAccount': 'api/v1',
  'v1 ConfigMap': 'api/v1',
  'v1 Service': 'api/v1',
  'apps/v1 DaemonSet': 'apis/apps/v1',
  'rbac.authorization.k8s.io/v1 ClusterRole': 'apis/rbac.authorization.k8s.io/v1',
  'rbac.authorization.k8s.io/v1 ClusterRoleBinding': 'apis/rbac.authorization.k8s.io/v1',
};

interface OpenApi {
  readonly components: { readonly schemas: Readonly<Record<string, Schema & GroupKinds>> };
}

interface GroupKinds {
  readonly 'x-kubernetes-group-version-kind'?: readonly {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  }[];
}

/** In the order in which they are: `services`. */
function pathOf({ apiVersion, kind, metadata }: Rendered): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const space = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  return `${root}${space}/${kind.toLowerCase()}s`;
}

describe.skipIf(blocked !== undefined)(
  `the objects of the chart before a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    let network: NetworkNamespace;
    let plane: ControlPlane;

    beforeAll(async () => {
      network = await NetworkNamespace.create('192.0.2.10');
      plane = new ControlPlane({ namespace: network.name, address: '192.0.2.10' });
      await plane.start();
      for (const crd of crds) {
        await plane.must('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
        const { plural } = crd.spec.names;
        await plane.until(`there are ${plural}`, async () => {
          return (
            (await plane.request('GET', `/apis/monitoring.coreos.com/v1/${plural}`)).status === 200
          );
        });
      }
    });

    afterAll(async () => {
      await plane?.stop();
      await network?.close();
    });

    async function offer(object: Rendered): Promise<ApiAnswer> {
      return plane.request('POST', `${pathOf(object)}?dryRun=All&fieldValidation=Strict`, object);
    }

    describe.each(readdirSync(join(folder, 'rendered')))('%s', (name) => {
      const objects = objectsOf(readFileSync(join(folder, 'rendered', name), 'utf8'));

      it.each(objects)('$kind $metadata.name is taken', async (object) => {
        const { status, text } = await offer(object);
        expect(status, text).toBe(201);
      });

      it.each(objects)('$kind $metadata.name with a field of no meaning is not', async (object) => {
        const inside = 'spec' in object ? 'spec' : 'metadata';
        const spoilt = { ...(object[inside] as object), notAField: 1 };
        const { status, text } = await offer({ ...object, [inside]: spoilt });
        expect(status, text).toBe(400);
        expect(text).toMatch(/unknown field .*notAField/);
      });
    });

    it('has the schemas that the unit layer checks objects by (vitest -u writes them)', async () => {
      const documents = new Map<string, OpenApi>();
      for (const path of new Set(Object.values(kinds))) {
        documents.set(path, (await plane.must('GET', `/openapi/v3/${path}`)) as OpenApi);
      }
      const all = Object.assign({}, ...[...documents.values()].map(schemasOf)) as Schemas;
      const own = Object.entries(kinds).map(([name]) => [name, kindSchema(all, name)] as const);
      const custom = crds.map(({ spec: { group, names, versions } }) => {
        const [version] = versions;
        const schema = version?.schema.openAPIV3Schema as unknown as Schema;
        return [`${group}/v1 ${names.kind}`, withMetadata(schema, all)] as const;
      });
      const needed = neededSchemas(Object.fromEntries([...own, ...custom]), all);
      const lines = Object.entries(needed).map(
        ([name, schema]) => `${JSON.stringify(name)}: ${JSON.stringify(schema)}`,
      );
      const file = join(folder, 'api-schemas.json');
      await expect(`{\n${lines.join(',\n')}\n}\n`).toMatchFileSnapshot(file);
    });
  },
);

function schemasOf({ components }: OpenApi): Schemas {
  return components.schemas;
}

function kindSchema(all: Schemas, name: string): Schema {
  const [apiVersion = '', kind = ''] = name.split(' ');
  const [version, group = ''] = apiVersion.split('/').toReversed();
  const found = Object.values(all as Readonly<Record<string, Schema & GroupKinds>>).find((schema) =>
    schema['x-kubernetes-group-version-kind']?.some(
      (each) => each.group === group && each.version === version && each.kind === kind,
    ),
  );
  if (found === undefined) throw new Error(`the API server has no schema of ${name}`);
  return found;
}

/** A CustomResourceDefinition leaves it to the server what metadata is. */
function withMetadata(schema: Schema, all: Schemas): Schema {
  const name = Object.keys(all).find((each) => each.endsWith('.v1.ObjectMeta')) ?? '';
  return { ...schema, properties: { ...schema.properties, metadata: { $ref: `#/${name}` } } };
}
