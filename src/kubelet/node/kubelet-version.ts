/** The version of Kubernetes whose kubelet this one behaves as: clients of ours say that they are like its. */
export const likeVersion = '1.37';

const ownVersion = `v${likeVersion}.0`;

/**
 * The version to report: a kubelet must not be newer than its API server (version skew policy), and tools hold them against each other.
 * `server`: its `gitVersion`, where it is known.
 */
export function reportedVersion(server: string | undefined): string {
  const theirs = numbersOf(server ?? '');
  const ours = numbersOf(ownVersion);
  if (theirs === undefined || ours === undefined) return ownVersion;
  const at = theirs.findIndex((number, index) => number !== ours[index]);
  const isOlder = at >= 0 && (theirs[at] ?? 0) < (ours[at] ?? 0);
  return isOlder ? `v${theirs.join('.')}` : ownVersion;
}

/** `v1.36.2+k3s1` → 1, 36, 2 */
function numbersOf(version: string): readonly number[] | undefined {
  return /^v?(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
}
