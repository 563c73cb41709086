import { serviceLink } from '../../host/interfaces.ts';
import { membersOf } from '../iptables/diff-sets.ts';
import { renderTables } from '../iptables/render.ts';
import { realServerArgs, serverArgs } from './ipvsadm-text.ts';
import type { IpvsFeatures } from './options.ts';
import type { IpvsState, VirtualServer } from './state.ts';

/** The parts of the text, in the order in which they are loaded, and what loads each. */
export const ipvsSections = ['sets', 'rules', 'virtual servers', 'addresses'] as const;
export type IpvsSection = (typeof ipvsSections)[number];

/** What a rendered text says about itself. */
export interface IpvsRenderOptions {
  /** The assumed feature set, for the header. */
  readonly features?: IpvsFeatures;
}

/**
 * What would be applied on a node without rules, in sections that their tools load in this order. Each begins with a line
 * `## NAME: TOOL`; lines with `#` are for readers, and all four tools pass them by.
 */
export function renderIpvs(state: IpvsState, { features }: IpvsRenderOptions = {}): string {
  const { family } = state;
  const where = 'for a node without our rules; each section is loaded by the tool it names';
  const lines = [`# switchyard, mode ipvs, ${family}: ${where}`];
  if (features !== undefined) {
    lines.push(`# features: hairpin=${features.hairpin} randomFully=${features.randomFully}`);
  }
  for (const { address, reason } of state.refused) lines.push(`# refused: ${address}: ${reason}`);
  for (const { origin, reason } of state.shortfalls) lines.push(`# ${origin.name}: ${reason}`);
  const sections = ipvsSections.flatMap((section) => [
    `## ${section}: ${toolOf(section, state)}`,
    ...contents[section](state),
  ]);
  return `${[...lines, ...sections].join('\n')}\n`;
}

function toolOf(section: IpvsSection, { family }: IpvsState): string {
  switch (section) {
    case 'sets':
      return 'ipset restore';
    case 'rules':
      return `${family === 'ipv4' ? 'iptables' : 'ip6tables'}-restore --noflush`;
    case 'virtual servers':
      return 'ipvsadm --restore';
    case 'addresses':
      return 'ip -batch -';
    default:
      return section satisfies never;
  }
}

const contents: Readonly<Record<IpvsSection, (state: IpvsState) => readonly string[]>> = {
  sets: ({ rules }) =>
    [...rules.sets.values()].flatMap((set) => [
      `create ${set.name} ${set.create}`,
      ...[...membersOf(set)].toSorted(inOrder).map((member) => `add ${set.name} ${member}`),
    ]),
  rules: ({ rules }) => renderTables(rules),
  'virtual servers': ({ servers }) => {
    const sorted = [...servers.values()].toSorted((a, b) => inOrder(a.key, b.key));
    return sorted.flatMap(serverLines);
  },
  addresses: ({ addresses, family }) => [
    `link add ${serviceLink} type dummy`,
    ...[...addresses.keys()]
      .toSorted(inOrder)
      .map(
        (address) => `address add ${address}/${family === 'ipv4' ? 32 : 128} dev ${serviceLink}`,
      ),
  ],
};

function serverLines(server: VirtualServer): readonly string[] {
  const real = [...server.realServers.values()];
  return [
    `# ${server.origin.name}`,
    `-A ${serverArgs(server)}`,
    ...real.map((each) => `-a ${realServerArgs(server, each)}`),
  ];
}

const numbers = new Intl.Collator('en', { numeric: true });

/** As people sort addresses: 10.96.0.9 before 10.96.0.10. */
function inOrder(a: string, b: string): number {
  return numbers.compare(a, b) || (a < b ? -1 : 1);
}
