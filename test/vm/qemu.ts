import { join } from 'node:path';
import type { GuestKernel } from './guest-kernel.ts';

const checkout = join(import.meta.dirname, '../..');

/** What a guest is made of. */
export interface Hardware {
  readonly kernel: GuestKernel;
  readonly initrd: string;
  /** Memory in MB; taken only as it is used. */
  readonly memoryMb?: number;
  /** Each is a thread that emulates it: more of them than the machine has to give wait for each other, in the guest's own locks. */
  readonly processors?: number;
}

/** A guest, and what it begins with. */
export interface Machine extends Hardware {
  /** What becomes its process 1, on the files of the machine outside: by its path in the checkout. */
  readonly script: string;
  /** Files of the guest, `/dev/virtio-ports/NAME`, each with the character device of qemu that it leads to. */
  readonly ports: Readonly<Record<string, string>>;
  /** Folders outside that it may write to, by the tag that it mounts them by. */
  readonly shares?: Readonly<Record<string, string>>;
  /** What else the kernel is told, and by it process 1. */
  readonly parameters?: readonly string[];
}

/**
 * Features of the processor that make its software emulation slower, not faster. Measured with qemu 7.2: with `erms` the kernel and the C
 * library copy byte by byte (1.3 GB from /dev/zero in 12.2 s, 1.2 s without); the others are looked at on every access or change of task.
 */
const costly = ['erms', 'la57', 'smap', 'smep', 'umip', 'pku', 'xsave', 'avx', 'avx2'];

/** The command line of qemu. `job`: a folder of the guest's own, where its `console` is written. */
export function qemuArguments(job: string, machine: Machine): readonly string[] {
  const { kernel, initrd, ports, shares = {}, memoryMb = 3072, processors = 2 } = machine;
  const settings: Readonly<Record<string, readonly string[]>> = {
    accel: ['tcg,thread=multi'],
    cpu: [`max,${costly.map((feature) => `-${feature}`).join(',')}`],
    smp: [`${processors}`],
    m: [`${memoryMb}`],
    display: ['none'],
    kernel: [kernel.image],
    initrd: [initrd],
    append: [commandLine(job, machine)],
    serial: [`file:${join(job, 'console')}`],
    fsdev: [
      'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap',
      ...Object.entries(shares).map(
        ([name, path]) => `local,id=${name},path=${path},security_model=none`,
      ),
    ],
    chardev: Object.entries(ports).map(([name, device]) => `${device},id=${name}`),
    device: [
      ...['root', ...Object.keys(shares)].map(
        (name) => `virtio-9p-pci,fsdev=${name},mount_tag=${name}`,
      ),
      'virtio-serial-pci',
      ...Object.keys(ports).map((name) => `virtserialport,chardev=${name},name=${name}`),
    ],
    nic: ['user,model=virtio-net-pci,ipv6=off'],
  };
  const named = Object.entries(settings).flatMap(([name, values]) =>
    values.flatMap((value) => [`-${name}`, value]),
  );
  return ['-nodefaults', '-no-user-config', '-no-reboot', ...named];
}

/** What the kernel is told; names it does not know are handed to init as its environment. */
function commandLine(job: string, { kernel, script, parameters: more = [] }: Machine): string {
  const modules = join(kernel.root, 'lib', 'modules', kernel.release);
  const parameters = {
    console: 'ttyS0',
    panic: '-1',
    'net.ifnames': '0',
    // Under software emulation the kernel mistrusts this counter, and asks a slow device for the time.
    tsc: 'reliable',
    // The guest is as safe as the machine it runs on; each of these costs time.
    mitigations: 'off',
    apparmor: '0',
    audit: '0',
    init_on_alloc: '0',
    // A namespace is removed after a grace period of the kernel; tests make and remove them by the dozen.
    'rcupdate.rcu_expedited': '1',
    checkout,
    modules,
    job,
    script,
  };
  const named = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  // Whether interrupts come is found out by counting them for some milliseconds, in which a busy machine runs no guest.
  return ['quiet', 'no_timer_check', ...named, ...more].join(' ');
}
