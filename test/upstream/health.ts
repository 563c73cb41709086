import type { RawService, RawSlice } from './objects.ts';
import { nodeAddress } from './place.ts';
import type { Made, TwinCluster } from './twin-cluster.ts';
import { inTurns } from './turns.ts';

/** The row of docs/differences.md that health checks show. */
export const healthRow = 'health check of a service with endpoints that serve none of its ports';

export interface HealthComparison {
  readonly asked: number;
  readonly differences: readonly { readonly text: string; readonly row: string | undefined }[];
}

interface HealthCheck {
  readonly service: RawService;
  /** Those of the asked address's family. */
  readonly slices: readonly RawSlice[];
  readonly url: string;
}

/** Asks both twins what balancers ask: is there a local endpoint, and how many? */
export async function compareHealth(
  cluster: TwinCluster,
  made: readonly Made[],
): Promise<HealthComparison> {
  const checks = made.flatMap(checksOf);
  const found = await inTurns(checks, 16, async (check) => {
    const answers = await Promise.all(
      cluster.labs().map(async ([, lab]) => lab.get('client', check.url)),
    );
    const [ours = '', theirs = ''] = answers.map(told);
    if (ours === theirs) return [];
    const name = check.service.metadata.name;
    const text = `${name}: GET ${check.url}: Switchyard ${ours}, upstream ${theirs}`;
    return [{ text, row: isStrangers(check, ours, theirs) ? healthRow : undefined }];
  });
  return { asked: checks.length, differences: found.flat() };
}

function checksOf({ services, slices }: Made): readonly HealthCheck[] {
  return services.flatMap((service) => {
    const port = service.spec.healthCheckNodePort ?? 0;
    if (port === 0) return [];
    const own = slices.filter(
      ({ metadata }) => metadata.labels['kubernetes.io/service-name'] === service.metadata.name,
    );
    return (['IPv4', 'IPv6'] as const).map((family) => ({
      service,
      slices: own.filter(({ addressType }) => addressType === family),
      url: `http://${family === 'IPv4' ? nodeAddress('ipv4') : `[${nodeAddress('ipv6')}]`}:${port}/`,
    }));
  });
}

function told({ status, body }: { readonly status: number; readonly body: string }): string {
  return status === 0 ? 'no answer' : `${status} ${JSON.stringify(JSON.parse(body))}`;
}

/** Ours tells how many endpoints of the service's ports there are on the node, theirs how many of any port. */
function isStrangers({ service, slices }: HealthCheck, ours: string, theirs: string): boolean {
  const ports = new Set(service.spec.ports?.map(({ name, protocol }) => `${name}/${protocol}`));
  const own = slices.filter((slice) =>
    slice.ports.some(({ name, protocol }) => ports.has(`${name}/${protocol}`)),
  );
  return tells(ours, localReady(own)) && tells(theirs, localReady(slices));
}

function localReady(slices: readonly RawSlice[]): number {
  const ready = slices
    .flatMap(({ endpoints }) => endpoints)
    .filter(({ nodeName, conditions }) => nodeName === 'node-a' && conditions?.['ready'] !== false);
  return new Set(ready.map(({ addresses }) => addresses[0])).size;
}

function tells(answer: string, localEndpoints: number): boolean {
  return (
    answer.startsWith(localEndpoints === 0 ? '503 ' : '200 ') &&
    answer.includes(`"localEndpoints":${localEndpoints},`)
  );
}
