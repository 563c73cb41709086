import type { Container } from './pod-form.ts';

/** What a kubelet and a container runtime give a container. */
export interface ContainerPlaces {
  /** By volume: the folder or file of this machine that stands for it. One that is left out is not mounted. */
  readonly volumes: Readonly<Record<string, string>>;
  /** Folder with the token and certificate of the ServiceAccount. */
  readonly serviceAccount: string;
  /** By path: `spec.nodeName`. */
  readonly fields: Readonly<Record<string, string>>;
  /** What the image starts. */
  readonly entryPoint: readonly string[];
}

const tokenFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * A shell script that does what a runtime does for a container of a pod with the host's network: mounts, a root file system and
 * kernel settings that are read-only, capabilities, environment and arguments. It has to run in a mount namespace of its own, as
 * root; the tools of this machine are those of the image.
 */
export function containerScript(container: Container, places: ContainerPlaces): string {
  const { privileged = false } = container.securityContext;
  const mounts = (container.volumeMounts ?? []).flatMap(({ name, mountPath, readOnly = false }) => {
    const from = places.volumes[name];
    return from === undefined ? [] : [{ from, to: mountPath, readOnly }];
  });
  return [
    'mount --make-rprivate /',
    ...ownEtc,
    'mount -t tmpfs tmpfs /run',
    ...[...mounts, { from: places.serviceAccount, to: tokenFolder, readOnly: true }].flatMap(mount),
    ...(container.securityContext.readOnlyRootFilesystem ? ['/', '/etc', '/run'].map(remount) : []),
    ...(privileged
      ? []
      : ['mount --bind /proc/sys /proc/sys', remount('/proc/sys'), remount('/sys')]),
    ['exec', ...rights(container), 'env -i PATH="$PATH"', ...command(container, places)].join(' '),
  ].join('\n');
}

/** Places for mounts, of this namespace alone, beside what tools look into; all of a machine's settings would take seconds in a guest. */
const ownEtc = [
  'mount -t tmpfs tmpfs /mnt',
  String.raw`find /etc -maxdepth 1 \( -type f -o -type l \) -exec cp -a -t /mnt {} +`,
  'for each in alternatives iproute2 modprobe.d; do [ ! -d /etc/$each ] || cp -a /etc/$each /mnt; done',
  'mount --move /mnt /etc',
];

function mount({ from, to, readOnly }: { from: string; to: string; readOnly: boolean }): string[] {
  const folder = to.slice(0, to.lastIndexOf('/'));
  return [
    `mkdir -p ${quoted(folder)}`,
    `if [ -d ${quoted(from)} ]; then mkdir -p ${quoted(to)}; else touch ${quoted(to)}; fi`,
    `mount --bind ${quoted(from)} ${quoted(to)}`,
    ...(readOnly ? [remount(to)] : []),
  ];
}

function remount(path: string): string {
  return `mount -o remount,bind,ro ${quoted(path)}`;
}

/** The command before the program that takes rights away. */
function rights({ securityContext }: Container): readonly string[] {
  const { privileged = false, allowPrivilegeEscalation = true, capabilities } = securityContext;
  if (privileged) return [];
  if (capabilities?.drop?.join() !== 'ALL') throw new Error('expected a container that drops ALL');
  const kept = (capabilities.add ?? []).map((name) => `+${name.toLowerCase()}`);
  const noNew = allowPrivilegeEscalation ? [] : ['--no-new-privs'];
  return ['setpriv', `--bounding-set=${['-all', ...kept].join(',')}`, ...noNew];
}

function command(container: Container, { fields, entryPoint }: ContainerPlaces): readonly string[] {
  const env = new Map(
    (container.env ?? []).map(({ name, value, valueFrom }) => {
      const path = valueFrom?.fieldRef.fieldPath;
      return [name, path === undefined ? (value ?? '') : (fields[path] ?? '')];
    }),
  );
  const expanded = (text: string): string =>
    text.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => env.get(name) ?? whole);
  return [
    ...[...env].map(([name, value]) => quoted(`${name}=${value}`)),
    ...[...entryPoint, ...(container.args ?? []).map(expanded)].map(quoted),
  ];
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
