import { SwitchyardError } from '../../error.ts';
import { objectNameProblem } from '../../services/object-names.ts';

/** What an agent without an API server says of itself when it has started. */
export function standaloneText(
  nodeName: string,
  sources: readonly { readonly place: string }[],
  isAsked: boolean,
): string {
  const places = sources.map(({ place }) => place).join(' and ');
  const look = isAsked ? '; switchyard ps, logs and exec look at them' : '';
  return `without an API server: runs the static pods of ${places}, each as NAME-${nodeName}${look}`;
}

/** The name of this node; throws for one that no object can have, as a host name may be. */
export function nodeNameOf(override: string, hostname: string): string {
  const name = override || hostname.trim().toLowerCase();
  const problem = name === '' ? 'it is empty' : objectNameProblem(name);
  if (problem === undefined) return name;
  const what = override === '' ? 'the host name' : '--hostname-override';
  throw new SwitchyardError(
    'usage',
    `${what} ${JSON.stringify(name)} is no name for a node: ${problem}`,
    {
      hint: 'give a name of small letters, digits, dots and dashes by --hostname-override',
    },
  );
}
