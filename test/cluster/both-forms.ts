// Lists all the proxy's kinds from an API server, in Protocol Buffers and in JSON, and prints a JSON line a kind:
// the fields of its schema in both forms, and the content types. usage: node both-forms.ts KUBECONFIG
import process from 'node:process';
import { systemClock } from '../../src/clock.ts';
import { runProgram } from '../../src/host/run-program.ts';
import { loadApiClient } from '../../src/informer/api-client.ts';
import type { ApiClient } from '../../src/informer/api-client.ts';
import { ApiList } from '../../src/informer/api-list.ts';
import type { Kind, KubeObject } from '../../src/informer/kind.ts';
import type { WireField, WireMessage } from '../../src/informer/wire-message.ts';
import { endpointSliceKind } from '../../src/services/endpoint-slice-kind.ts';
import { anyNodeKind } from '../../src/services/node-kind.ts';
import { serviceCidrKind } from '../../src/services/service-cidr-kind.ts';
import { serviceKind } from '../../src/services/service-kind.ts';
import { silentLog } from '../../src/telemetry/log.ts';

type Value = Readonly<Record<string, unknown>>;
interface WholeObject extends KubeObject {
  readonly fields: Value;
}

const [, , kubeconfig = ''] = process.argv;
const client = await loadApiClient({ kubeconfig, log: silentLog, clock: systemClock, runProgram });
const contentTypes = new Set<string>();
const watched: ApiClient = {
  server: client.server,
  get: async (...args) => {
    const response = await client.get(...args);
    contentTypes.add(response.headers['content-type'] ?? '');
    return response;
  },
  reloadCredentials: async () => client.reloadCredentials(),
  close: async () => client.close(),
};
for (const kind of [serviceKind, endpointSliceKind, anyNodeKind, serviceCidrKind]) {
  const { wire = [], within: _within, ...inJson } = kind;
  contentTypes.clear();
  const [binary, json] = [await list({ ...inJson, wire }, wire), await list(inJson, wire)];
  process.stdout.write(
    `${JSON.stringify({ kind: kind.kind, binary, json, contentTypes: [...contentTypes] })}\n`,
  );
}
await client.close();

/** What the schema has of every object. */
async function list(
  kind: Omit<Kind<KubeObject>, 'slim' | 'within'>,
  wire: WireMessage,
): Promise<unknown> {
  const whole: Kind<WholeObject> = {
    ...kind,
    slim: (raw) => {
      const meta = { namespace: '', name: '', uid: '', createdAtMs: 0 };
      return { object: { meta, fields: fieldsOf(wire, raw as Value) }, problems: [] };
    },
  };
  const options = { client: watched, kind: whole, clock: systemClock, log: silentLog };
  const signal = AbortSignal.timeout(20_000);
  const result = await new ApiList(options).run({ freshness: 'newest', paged: true, signal });
  if (result.failure !== undefined) throw new Error(result.failure.reason);
  return result.objects.map(({ fields }) => fields);
}

function fieldsOf(wire: WireMessage, value: Value): Value {
  const known = wire.filter((field) => field !== undefined && value[field.name] !== undefined);
  return Object.fromEntries(
    (known as readonly WireField[]).map((field) => [field.name, part(field, value[field.name])]),
  );
}

function part({ type }: WireField, value: unknown): unknown {
  if (typeof type === 'string') return value;
  if (Array.isArray(value)) return value.map((each) => fieldsOf(type, each as Value));
  return fieldsOf(type, value as Value);
}
