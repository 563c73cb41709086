import { join } from 'node:path';
import process from 'node:process';

type Environment = Readonly<Record<string, string | undefined>>;

/** Of an agent that runs as root. */
const rootsSocket = '/run/switchyard/admin.sock';

/** Where an agent of this user stands if nobody says otherwise; undefined where its programs have no place for one run. */
export function usualAdminSocket(env: Environment, uid = process.getuid?.()): string | undefined {
  return uid === 0 ? rootsSocket : usersSocket(env);
}

/** Where an agent may be found, in the order in which to look. */
export function adminSocketsToTry(env: Environment, uid = process.getuid?.()): readonly string[] {
  const own = usersSocket(env);
  const others = own === undefined ? [] : [own];
  return uid === 0 ? [rootsSocket, ...others] : [...others, rootsSocket];
}

function usersSocket({ XDG_RUNTIME_DIR: folder }: Environment): string | undefined {
  return folder ? join(folder, 'switchyard', 'admin.sock') : undefined;
}
