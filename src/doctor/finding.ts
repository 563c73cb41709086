/** A way to make Services work, with what it asks of the node: a mode, and userspace mode without rules. */
export type Way = 'iptables' | 'ipvs' | 'userspace' | 'userspace-without-portals';

/** All ways, in the order in which they are told. */
export const ways: readonly Way[] = ['iptables', 'ipvs', 'userspace', 'userspace-without-portals'];

/** Those that write rules. */
export const ruleWays: readonly Way[] = ['iptables', 'ipvs', 'userspace'];

/** Those by which the kernel itself leads packets to pods. */
export const kernelWays: readonly Way[] = ['iptables', 'ipvs'];

/** `skipped`: it was not looked at, for the reason given. */
export type Status = 'ok' | 'warning' | 'failure' | 'skipped';

/** One thing that was looked at. Its text and its cure are one line each. */
export interface Finding {
  /** Stable: `sysctl.net.ipv4.ip_forward`. Scripts choose by it, whole or by its first words. */
  readonly id: string;
  readonly status: Status;
  /** What was seen. */
  readonly text: string;
  /** What to do, a command where one does it; of warnings and failures alone. */
  readonly cure?: string;
  /** Whom it concerns; left out: all. */
  readonly ways?: readonly Way[];
}

/** As it should be. */
export function ok(id: string, text: string, of?: readonly Way[]): Finding {
  return finding(id, 'ok', text, undefined, of);
}

/** It works, or may; somebody should look. */
export function warning(id: string, text: string, cure: string, of?: readonly Way[]): Finding {
  return finding(id, 'warning', text, cure, of);
}

/** Services do not work with it. */
export function failure(id: string, text: string, cure: string, of?: readonly Way[]): Finding {
  return finding(id, 'failure', text, cure, of);
}

/** Not looked at. */
export function skipped(id: string, why: string, of?: readonly Way[]): Finding {
  return finding(id, 'skipped', why, undefined, of);
}

function finding(
  id: string,
  status: Status,
  text: string,
  cure: string | undefined,
  of: readonly Way[] | undefined,
): Finding {
  const rest = { ...(cure !== undefined && { cure: oneLine(cure) }), ...(of && { ways: of }) };
  return { id, status, text: oneLine(text), ...rest };
}

/** Words of tools have line ends, and what stands in a terminal must not move its cursor. */
function oneLine(text: string): string {
  return text.trim().replaceAll(/\p{Cc}+/gu, ' ');
}
