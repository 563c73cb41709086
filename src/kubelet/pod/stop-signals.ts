const plain =
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ';
const realTime = /^SIGRT(?:MIN(?:\+(?:[1-9]|1[0-5]))?|MAX(?:-(?:[1-9]|1[0-4]))?)$/;
const names: ReadonlySet<string> = new Set(plain.split(' ').map((name) => `SIG${name}`));

/** Whether it is a signal of Linux as the API names them (KEP-4960): `SIGINT`, `SIGRTMIN+3`. */
export function isStopSignal(name: string): boolean {
  return names.has(name) || realTime.test(name);
}
