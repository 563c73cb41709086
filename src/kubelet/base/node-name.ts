import { SwitchyardError } from '../../error.ts';
import { objectNameProblem } from '../../services/object-names.ts';

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
