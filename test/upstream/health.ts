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
    const [ours, theirs] = answers.map(told);
    if (ours === theirs) return [];
    const name = check.service.metadata.name;
    const text = `${name}: GET ${check.url}: Switchyard ${ours}, upstream ${theirs}`;
    return [{ text, row: hasStrangers(check) ? healthRow : undefined }];
  });
  return { asked: checks.length, differences: found.flat() };
}

function checksOf({ services, slices }: Made): readonly HealthCheck[] {
  return services.flatMap((service) => {
    const port = service.spec.healthCheckNodePort ?? 0;
    if (port === 0) return [];
    const hosts = [nodeAddress('ipv4'), `[${nodeAddress('ipv6')}]`];
    const own = slices.filter(
      ({ metadata }) => metadata.labels['kubernetes.io/service-name'] === service.metadata.name,
    );
    return hosts.map((host) => ({ service, slices: own, url: `http://${host}:${port}/` }));
  });
}

function told({ status, body }: { readonly status: number; readonly body: string }): string {
  return status === 0 ? 'no answer' : `${status} ${JSON.stringify(JSON.parse(body))}`;
}

/** A ready endpoint of the node stands in a slice port that is no port of the service. */
function hasStrangers({ service, slices }: HealthCheck): boolean {
  const ports = new Set(service.spec.ports?.map(({ name, protocol }) => `${name}/${protocol}`));
  return slices.some(
    (slice) =>
      slice.ports.some(({ name, protocol }) => !ports.has(`${name}/${protocol}`)) &&
      slice.endpoints.some(
        ({ nodeName, conditions }) => nodeName === 'node-a' && conditions?.['ready'] !== false,
      ),
  );
}
