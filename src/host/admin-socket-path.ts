import { join } from 'node:path';
import process from 'node:process';

type Environment = Readonly<Record<string, string | undefined>>;

/** What answers at a socket of its own: the proxy, and the kubelet. */
export type AdminSocketName = 'admin' | 'kubelet';

/** Where an agent of this user stands if nobody says otherwise; undefined where its programs have no place for one run. */
export function usualAdminSocket(
  name: AdminSocketName,
  env: Environment,
  uid = process.getuid?.(),
): string | undefined {
  return uid === 0 ? rootsSocket(name) : usersSocket(name, env);
}

/** Where an agent may be found, in the order in which to look. */
export function adminSocketsToTry(
  name: AdminSocketName,
  env: Environment,
  uid = process.getuid?.(),
): readonly string[] {
  const own = usersSocket(name, env);
  const others = own === undefined ? [] : [own];
  const roots = rootsSocket(name);
  return uid === 0 ? [roots, ...others] : [...others, roots];
}

/** Of an agent that runs as root. */
function rootsSocket(name: AdminSocketName): string {
  return `/run/switchyard/${name}.sock`;
}

function usersSocket(
  name: AdminSocketName,
  { XDG_RUNTIME_DIR: folder }: Environment,
): string | undefined {
  return folder ? join(folder, 'switchyard', `${name}.sock`) : undefined;
}
