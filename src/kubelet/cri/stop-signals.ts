import { Signal, SignalSchema } from './gen/api_pb.ts';
import type { VersionResponse } from './gen/api_pb.ts';

/** By the API's names, in which a `+` or `-` stands where CRI has a word: `SIGRTMIN+1`, `SIGRTMINPLUS1`. */
const signals: ReadonlyMap<string, Signal> = new Map(
  SignalSchema.values
    .filter(({ number }) => number !== Signal.RUNTIME_DEFAULT)
    .map(({ localName, number }) => [
      localName.replace('PLUS', '+').replace('MINUS', '-'),
      number as Signal,
    ]),
);

/** A signal of Linux as CRI has it; undefined: there is none of this name. */
export function stopSignal(name: string): Signal | undefined {
  return signals.get(name);
}

/** As the API names it; undefined: the runtime does not say it. */
export function stopSignalName(signal: Signal): string | undefined {
  return [...signals].find(([, each]) => each === signal)?.[0];
}

/** The first release of containerd that does not drop the field (its pull request 11774). */
const [firstMajor, firstMinor] = [2, 3];

/** Whether the runtime stops a container by the signal that its configuration names: it does not say so itself, but by its release. */
export function takesStopSignals({
  runtimeName,
  runtimeVersion,
}: Pick<VersionResponse, 'runtimeName' | 'runtimeVersion'>): boolean {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(runtimeVersion) ?? [];
  if (runtimeName !== 'containerd' || major === undefined) return false;
  return (
    Number(major) > firstMajor || (Number(major) === firstMajor && Number(minor) >= firstMinor)
  );
}
