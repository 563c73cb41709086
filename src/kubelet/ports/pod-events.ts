import type { Pod } from '../pod/pod.ts';

/** An Event about a pod or one of its containers; neither waits nor throws. */
export interface PodEvent {
  readonly type: 'Normal' | 'Warning';
  /** `Started`, `BackOff`, `FailedMount` … as upstream's kubelet has them. */
  readonly reason: string;
  readonly message: string;
  /** Its name, for Events about a container. */
  readonly container?: string;
}

/** Events about pods, told to the API server. */
export interface PodEvents {
  tell(pod: Pick<Pod, 'metadata' | 'spec'>, event: PodEvent): void;
}
