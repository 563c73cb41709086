/** Version 1 of cgroups shows no limit of memory as the highest number of whole pages. */
const unlimitedBytes = 2n ** 62n;

/** Whether what a cgroup shows as its limit of memory is none. */
export function isUnlimited(bytes: bigint | number): boolean {
  return bytes >= unlimitedBytes;
}
