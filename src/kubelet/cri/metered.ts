import type { Client } from '@connectrpc/connect';
import type { DescService } from '@bufbuild/protobuf';
import type { Cri } from './client.ts';
import { ImageService, RuntimeService } from './gen/api_pb.ts';

/** Told of each call: its name in CRI, how long it took, and whether it failed. */
export type OnCall = (name: string, seconds: number, failed: boolean) => void;

type Call = (...args: readonly unknown[]) => unknown;

/** The same runtime; each unary call is told of when it is over. */
export function meteredCri(cri: Cri, onCall: OnCall): Cri {
  return {
    ...cri,
    runtime: metered(RuntimeService, cri.runtime, onCall),
    images: metered(ImageService, cri.images, onCall),
  };
}

function metered<S extends DescService>(service: S, client: Client<S>, onCall: OnCall): Client<S> {
  const calls = client as unknown as Readonly<Record<string, Call | undefined>>;
  const told = service.methods
    .filter(({ methodKind }) => methodKind === 'unary')
    .flatMap(({ localName, name }): [string, Call][] => {
      const call = calls[localName];
      return call === undefined ? [] : [[localName, timed(name, call, onCall)]];
    });
  return { ...client, ...Object.fromEntries(told) };
}

function timed(name: string, call: Call, onCall: OnCall): Call {
  return async (...args) => {
    const beganMs = performance.now();
    let failed = true;
    try {
      const answer = await call(...args);
      failed = false;
      return answer;
    } finally {
      onCall(name, (performance.now() - beganMs) / 1000, failed);
    }
  };
}
