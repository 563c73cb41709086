// install/install.sh in a mount namespace of its own, where /usr/local, /etc and /run/systemd are nobody's; systemctl is a stand-in that notes what it is told.
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ownFolder } from '../support/own-folder.ts';
import { unpackedRelease } from '../support/release-folder.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;

/** What the machine is like for the script. `$W` is a folder of the test. */
const machine = `
set -eu
mount -t tmpfs tmpfs /usr/local
mkdir -p "$W/etc" "$W/bin"
cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache "$W/etc/" 2>/dev/null || true
mount --bind "$W/etc" /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /etc/systemd/system /usr/local/bin
cat >"$W/bin/systemctl" <<'END'
#!/bin/sh
echo "$*" >>"$W/told"
[ "$1" != is-active ] || [ -e "$W/active-$3" ]
END
chmod +x "$W/bin/systemctl"
export PATH="$W/bin:$PATH"
: >"$W/told"
`;

let folder = '';
let first = '';
let second = '';

beforeEach(async () => {
  folder = ownFolder('switchyard-install');
  [first, second] = await Promise.all([
    unpackedRelease(folder, '1.0.0'),
    unpackedRelease(folder, '1.1.0'),
  ]);
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

interface Said {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  /** What systemctl was told, but for questions. */
  readonly told: readonly string[];
}

/** Runs lines of shell there: `$A` and `$B` are the scripts of two releases. */
async function there(lines: string): Promise<Said> {
  const script = join(folder, 'script.sh');
  writeFileSync(script, machine + lines);
  const env = {
    W: folder,
    PATH: process.env['PATH'],
    A: join(first, 'install/install.sh'),
    B: join(second, 'install/install.sh'),
  };
  const words = ['--mount', '--propagation', 'private', 'sh', script];
  const said = await run('unshare', words, { env, timeout: 60_000 }).then(
    ({ stdout, stderr }) => ({ status: 0, out: stdout, err: stderr }),
    (error: unknown) => {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { status: code, out: stdout, err: stderr };
    },
  );
  const lineList = readFileSync(join(folder, 'told'), 'utf8').split('\n').filter(Boolean);
  return { ...said, told: lineList.filter((line) => !line.startsWith('is-active')) };
}

const lib = '/usr/local/lib/switchyard';
const unit = 'switchyard-kubelet.service';

describe.skipIf(!isRoot)('the install script', () => {
  it('installs all of it, says what is next, and starts nothing unasked', async () => {
    const { status, out, told } = await there(`
      "$A"
      switchyard version
      ls ${lib} /etc/switchyard /etc/systemd/system
      stat -c %a /usr/local/bin/switchyard ${lib}/current/node ${lib}/current/switchyard.mjs`);
    expect(status).toBe(0);
    expect(out).toContain('installed Switchyard 1.0.0');
    expect(out).toContain('systemctl enable --now switchyard-kubelet.service');
    expect(out).toContain(`node of 1.0.0: ${lib}/current/switchyard.mjs version`);
    expect(out).toMatch(/kubelet\.env\nkubelet\.yaml/);
    expect(out).toMatch(/755\n755\n644\n$/);
    expect(told).toEqual(['daemon-reload']);
  });

  it('may be run again: nothing changes, and what is the operator’s stays', async () => {
    const { status, out } = await there(`
      "$A" >/dev/null
      echo '# mine' >>/etc/switchyard/kubelet.env
      echo '# mine' >>/etc/switchyard/kubelet.yaml
      sums() { tar -C / --sort=name --mtime=@0 -c usr/local etc/switchyard etc/systemd | sha256sum; }
      sums >"$W/before"
      "$A" >/dev/null
      sums | diff "$W/before" - && echo same`);
    expect([status, out]).toEqual([0, 'same\n']);
  });

  it('upgrades with one step, restarts a service that runs, and keeps the version before', async () => {
    const { status, out, told } = await there(`
      mkdir -p ${lib}/0.9.0
      "$A" >/dev/null
      touch "$W/active-${unit}"
      "$B"
      ls ${lib}
      switchyard
      "$A" >/dev/null
      switchyard`);
    expect(status).toBe(0);
    expect(out).toContain('restarted; pods ran on');
    expect(out).toMatch(/1\.0\.0\n1\.1\.0\ncurrent\nnode of 1\.1\.0: .*\nnode of 1\.0\.0: /);
    expect(told.filter((line) => line.startsWith('restart'))).toHaveLength(2);
    expect(told).not.toContain(`enable ${unit}`);
  });

  it('starts where it is asked to', async () => {
    const { told } = await there('"$A" --start');
    expect(told).toEqual(['daemon-reload', `enable ${unit}`, `restart ${unit}`]);
  });

  it('takes the configuration of a node that kubeadm has joined', async () => {
    const { out } = await there(`
      mount -t tmpfs tmpfs /var/lib
      mkdir -p /var/lib/kubelet
      touch /var/lib/kubelet/config.yaml "$W/active-kubelet.service"
      "$A" 2>"$W/err"
      cat /etc/switchyard/kubelet.env "$W/err"`);
    expect(out).toContain('--config=/var/lib/kubelet/config.yaml');
    expect(out).toContain('kubelet.service runs');
  });

  it('checks, and changes nothing', async () => {
    const { status, out, err, told } = await there(`
      "$A" --check
      ls -A /usr/local/lib 2>/dev/null | wc -l`);
    expect([status, told]).toEqual([0, []]);
    expect(out).toBe('nothing is in the way of installing\n0\n');
    expect(err).toContain('no containerd at /run/containerd/containerd.sock');
    expect(err).toContain('no CNI configuration');
  });

  it.each([
    [
      'a release that is not whole',
      'echo >>"$(dirname "$A")/../lib/switchyard.mjs"; "$A"',
      'not whole',
    ],
    [
      'a release of which a file is missing',
      'rm "$(dirname "$A")/../lib/node"; "$A"',
      'lib/node is missing',
    ],
    [
      'another program of its name',
      'echo "#!/bin/sh" >/usr/local/bin/switchyard; "$A"',
      'is not of Switchyard',
    ],
    [
      'a Node that does not run',
      'N="$(dirname "$A")/../lib/node"; printf "\\177ELF" >"$N"; cd "$(dirname "$A")/.."; sed -i "/ lib.node$/d" SHA256SUMS; sha256sum lib/node >>SHA256SUMS; "$A"',
      'of another architecture',
    ],
  ])('refuses %s, and has changed nothing', async (_what, lines, problem) => {
    const { status, err, told } = await there(
      `(${lines}) || { [ ! -e ${lib} ] && [ ! -e /etc/switchyard ] && exit 9; }`,
    );
    expect([status, told]).toEqual([9, []]);
    expect(err).toContain(problem);
  });

  it('is not fooled by a flag that it does not know', async () => {
    const { status, err } = await there('"$A" --unistall');
    expect(status).toBe(2);
    expect(err).toContain('usage:');
  });

  it('removes what it has installed, and nothing else', async () => {
    const { status, out, told } = await there(`
      mkdir -p /usr/local/lib/other /etc/kubernetes
      (cd / && find usr/local etc | sort) >"$W/before"
      "$A" >/dev/null
      "$A" --uninstall
      ls /etc/switchyard
      "$A" --uninstall --purge
      (cd / && find usr/local etc | sort) | diff "$W/before" - && echo as before`);
    expect(status).toBe(0);
    expect(out).toContain('Pods run on under containerd');
    expect(out).toContain('kubelet.env\nkubelet.yaml\n');
    expect(out).toMatch(/as before\n$/);
    expect(told.slice(0, 3)).toEqual(['daemon-reload', `disable --now ${unit}`, 'daemon-reload']);
  });

  it('removes what the kubelet has told logind, and not what another kubelet has', async () => {
    const file = '/etc/systemd/logind.conf.d/99-kubelet.conf';
    const { out, told } = await there(`
      mkdir -p /etc/systemd/logind.conf.d
      "$A" >/dev/null
      echo '[Login]' >${file}
      "$A" --uninstall >/dev/null
      ls ${file}
      "$A" >/dev/null
      echo '# Written by switchyard kubelet: a shutdown waits for its pods.' >${file}
      "$A" --uninstall >/dev/null
      ls /etc/systemd/logind.conf.d`);
    expect(out).toBe(`${file}\n`);
    expect(told.filter((line) => line.startsWith('kill'))).toEqual([
      'kill --signal=HUP systemd-logind.service',
    ]);
  });

  it('installs into the root of an image, and asks nothing of systemd there', async () => {
    const { status, out, told } = await there(`
      mkdir "$W/image"
      "$A" --root "$W/image" >/dev/null
      cd "$W/image" && find . -type f -o -type l | sort
      ls -A /usr/local/bin | wc -l
      "$A" --root "$W/image" --uninstall --purge >/dev/null
      find . -type f | wc -l`);
    expect([status, told]).toEqual([0, []]);
    expect(out).toContain('./etc/systemd/system/switchyard-kubelet.service');
    expect(out).toMatch(/\n0\n0\n$/);
  });
});
