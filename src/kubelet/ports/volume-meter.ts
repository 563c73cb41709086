/** Counts and times what is done to volumes. Neither waits nor throws. */
export interface VolumeMeter {
  /** `plugin`: who makes it, `kubernetes.io/empty-dir`. */
  volumeSetUp(plugin: string, seconds: number, failed: boolean): void;
}
