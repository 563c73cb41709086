import { Expectation, aloneOf, ending } from '../upstream/expectation.ts';
import type { RawService } from '../upstream/objects.ts';
import type { Made } from '../upstream/twin-cluster.ts';
import type { LabQuestion } from '../upstream/questions.ts';
import { meantByIpvs } from '../support/ipvs-deviations.ts';
import { address } from '../support/service-ports.ts';

/** What ipvs mode is to make of the objects: what `interpret` says, but for the mode's deviations. */
export class IpvsExpectation extends Expectation {
  override answers(question: LabQuestion): readonly string[] {
    const { family, source, to, port, proto, actor } = question;
    const attempt = {
      protocol: proto === 'udp' ? ('UDP' as const) : ('TCP' as const),
      source,
      destination: to,
      port,
      inInterface: actor === 'node' ? undefined : actor,
    };
    const settings = { scheduler: 'rr', reserved: () => undefined };
    const { shares } = meantByIpvs(this.graphs[family], attempt, settings);
    const texts = Object.keys(shares).map((share) => ending(question, endOf(share)));
    return [...new Set(texts)].toSorted();
  }

  /** Affinity holds for each frontend by itself. */
  override clientOf(question: LabQuestion): string {
    return `${super.clientOf(question)} ${question.to} ${question.port}`;
  }
}

function endOf(share: string): Parameters<typeof ending>[1] {
  const [at = '', port, masquerade] = share.split(' ');
  if (at === 'reject' || at === 'drop' || at === 'pass') return { kind: at };
  const endpoint = { address: address(at), port: Number(port) };
  return { kind: 'endpoint', endpoint, masquerade: masquerade === 'true' };
}

/** What would be expected if one service, perhaps another one of its name, were there without the others. */
export function ipvsExpectationOf(
  service: RawService,
  made: readonly Made[],
  flags: readonly string[],
): IpvsExpectation {
  return new IpvsExpectation(aloneOf(service, made), flags);
}
