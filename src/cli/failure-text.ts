import { SwitchyardError, errorText } from '../error.ts';
import type { CommandIo } from './command.ts';

/** What the operator reads of a failure: each line of the message, then the advice where there is some. */
export function failureText(error: unknown, env: CommandIo['env']): string {
  if (!(error instanceof SwitchyardError)) {
    const stack = error instanceof Error && env['SWITCHYARD_DEBUG'] ? error.stack : undefined;
    return `error: ${stack ?? errorText(error)}\n`;
  }
  const lines = error.message.split('\n').map((line) => `error: ${line}\n`);
  const advice = error.hint ?? (permissionDenied(error) ? rightsHint : undefined);
  const hint = advice === undefined ? '' : `hint: ${advice}\n`;
  return `${lines.join('')}${hint}`;
}

const rightsHint = 'run it as root, or with CAP_NET_ADMIN in the host’s network namespace';

/** Whether the kernel refused something for want of rights, however deep the cause lies. */
function permissionDenied(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? error.code : undefined;
  return code === 'EACCES' || code === 'EPERM' || permissionDenied(error.cause);
}
