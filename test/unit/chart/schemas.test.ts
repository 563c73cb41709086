// Every rendered object is as the API has it: known fields of the right type, and none missing.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { apiSchemas, schemaProblems } from '../../support/api-schemas.ts';
import { objectsOf } from '../../support/helm.ts';

const folder = join(import.meta.dirname, 'rendered');
const schemas = existsSync(join(import.meta.dirname, 'api-schemas.json')) ? apiSchemas() : {};

describe.each(readdirSync(folder))('%s', (name) => {
  const objects = objectsOf(readFileSync(join(folder, name), 'utf8'));

  it.each(objects)('$kind $metadata.name is as the API has it', (object) => {
    expect(schemaProblems(object, schemas)).toEqual([]);
  });
});

describe('an object that is not as the API has it', () => {
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' } };
  const problems = (spec: object): readonly string[] =>
    schemaProblems({ ...service, spec } as typeof service, schemas);

  it.each<[string, object, string]>([
    ['an unknown field', { clusterIp: '' }, '.spec.clusterIp: an unknown field'],
    ['a wrong type', { ports: [{ port: '80' }] }, '.spec.ports[0].port: "80", expected an integer'],
    ['a field that is missing', { ports: [{ name: 'a' }] }, '.spec.ports[0].port: is missing'],
    ['a list that is none', { ports: {} }, '.spec.ports: {}, expected a list'],
  ])('is told by %s', (_what, spec, expected) => {
    expect(problems(spec)).toEqual([expected]);
  });

  it('may have a port as a number or as a name', () => {
    expect(
      problems({
        ports: [
          { port: 80, targetPort: 'http' },
          { port: 81, targetPort: 8080 },
        ],
      }),
    ).toEqual([]);
  });

  it('is told by a kind that nobody knows', () => {
    expect(schemaProblems({ apiVersion: 'v2', kind: 'Service' }, schemas)).toEqual([
      'v2 Service: an unknown kind',
    ]);
  });
});
