import type { KubeletConfig } from '../../config/kubelet-config.ts';
import type { CgroupControllers } from '../../host/cgroup-controllers.ts';
import type { Privileges } from '../../host/privileges.ts';
import type { DatedCredential, PortReading, ToolReading } from '../readings.ts';
import type { AnyCheck, Check } from '../check.ts';
import { registered } from '../check.ts';

/** What is examined: a kubelet of this configuration on this node. */
export interface KubeletSubject {
  readonly config: KubeletConfig;
  readonly nodeName: string;
}

/** What a check can learn of the machine, its container runtime and the API server. Each is read once, when it is first asked for. */
export interface KubeletReadings {
  privileges(): Promise<Privileges>;
  tools(): Promise<readonly Pick<ToolReading, 'tool' | 'found'>[]>;
  runtime(): Promise<RuntimeReading>;
  cgroups(): Promise<CgroupControllers>;
  network(): Promise<NetworkReading>;
  mounts(): Promise<MountsReading>;
  swap(): Promise<readonly string[]>;
  ports(): Promise<readonly PortReading[]>;
  certificates(): Promise<CertificatesReading>;
  api(): Promise<KubeletApiReading>;
}

export type RuntimeReading =
  | { readonly kind: 'silent'; readonly problem: string; readonly cure: string | undefined }
  | {
      readonly kind: 'answered';
      readonly name: string;
      readonly version: string;
      /** What it says of itself, and of the network of pods; undefined: it is ready. */
      readonly runtimeProblem: string | undefined;
      readonly networkProblem: string | undefined;
      /** undefined: it does not say. `isTaken`: a kubelet that asks is told, and takes that one (containerd 2.0). */
      readonly cgroupDriver:
        | { readonly name: 'cgroupfs' | 'systemd'; readonly isTaken: boolean }
        | undefined;
      /** Where it looks for the configuration of the network. */
      readonly cniFolder: string;
    };

export interface NetworkReading {
  readonly folder: string;
  /** undefined: there is no such folder. */
  readonly files: readonly string[] | undefined;
}

export interface MountsReading {
  /** What the root directory is mounted from, and whether what is mounted below it is seen by the runtime. */
  readonly path: string;
  readonly isShared: boolean;
  /** Bytes and files that are free where it is, of all of them; undefined: not known. */
  readonly free: { readonly bytes: number; readonly files: number } | undefined;
}

/** A certificate of the kubelet, by what can be wrong with it. */
export type CertificateReading =
  | { readonly kind: 'absent'; readonly path: string }
  | { readonly kind: 'unusable'; readonly path: string; readonly problem: string }
  | ({ readonly kind: 'good'; readonly path: string } & Pick<
      DatedCredential,
      'notBeforeMs' | 'notAfterMs'
    > & {
        /** `O=system:nodes, CN=system:node:n1`. */
        readonly subject: string;
      });

export interface CertificatesReading {
  readonly nowMs: number;
  /** undefined: no API server is wanted, or it is asked with something else. */
  readonly client: CertificateReading | undefined;
  /** undefined: none was named. */
  readonly bootstrap: { readonly path: string; readonly problem: string | undefined } | undefined;
  /** undefined: the kubelet signs one itself. */
  readonly serving: CertificateReading | undefined;
  /** undefined: none was named. */
  readonly clientCa: { readonly path: string; readonly problem: string | undefined } | undefined;
}

export type KubeletApiReading =
  | { readonly kind: 'unused'; readonly why: string }
  | { readonly kind: 'silent'; readonly server: string; readonly problem: string }
  | {
      readonly kind: 'answered';
      readonly server: string;
      /** `v1.37.2`; '' where it was not told. */
      readonly version: string;
      readonly aheadMs: number | undefined;
      /** Of the request for this Node: 200, 401, 403, 404. */
      readonly nodeStatus: number;
      /** What was said where that is not 200. */
      readonly reason: string;
    };

/** A check for the kubelet's registry. */
export function kubeletCheck<R>(
  check: Check<R, KubeletReadings, KubeletSubject>,
): AnyCheck<KubeletReadings, KubeletSubject> {
  return registered(check);
}
