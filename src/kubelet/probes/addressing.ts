import type { Container } from '../pod/container.ts';

/** The address that is asked: the handler's own, or the pod's. */
export function hostOf(host: string | undefined, podIP: string | undefined): string {
  if (host !== undefined && host !== '') return host;
  if (podIP === undefined || podIP === '') throw new Error('the pod has no address yet');
  return podIP;
}

/** A port by its number, or by the name that this container gives it. */
export function portOf(port: number | string, container: Container): number {
  const byName = container.ports.find(({ name }) => name !== undefined && name === port);
  const number = byName?.containerPort ?? Number(port);
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number;
  throw new Error(`couldn't find port: ${JSON.stringify(port)} in container ${container.name}`);
}
