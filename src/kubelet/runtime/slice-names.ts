/**
 * A path of cgroups as systemd has it, each slice's name that of the one above and its own: of `/kubepods/burstable/podUID`
 * `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice`. A `-` of a name would be a level: it becomes a `_`.
 */
export function systemdSlice(root: string, path: string): string {
  const parts = `${root}/${path}`.split('/').filter((part) => part !== '');
  const names = parts.map((part) => part.replaceAll('-', '_'));
  return names.map((_, at) => `/${names.slice(0, at + 1).join('-')}.slice`).join('');
}
