// A node as its operator makes it: the release installed by its script on a machine with systemd, containerd and logind; what a restart, an upgrade
// and a removal of the agent do to pods, and how the machine is shut down.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PodEntry, PodsDocument } from '../../src/kubelet/admin/pods-document.ts';
import { ctr, versions, writeNodeFiles } from './node-files.ts';
import { SystemdMachine, whyNoMachine } from './systemd-machine.ts';

const blocked = whyNoMachine();
const machine = new SystemdMachine();
const unit = 'switchyard-kubelet';
const programs = '/usr/local/lib/switchyard';
const [first, second] = versions;
const names = ['brief', 'critical', 'stubborn', 'web'];

const script = (version: string): string => join(machine.folder, version, 'install/install.sh');

/** Puts files in place that lie outside. */
async function bring(...paths: readonly string[]): Promise<void> {
  for (const path of paths)
    await machine.does('install', '-Dm644', join(machine.folder, path), `/${path}`);
}

const systemd = async (...words: readonly string[]): Promise<string> =>
  (await machine.run('systemctl', ...words)).out.trim();

const property = async (name: string): Promise<string> =>
  systemd('show', unit, '--value', `--property=${name}`);

async function pods(): Promise<readonly PodEntry[]> {
  const { out } = await machine.run('switchyard', 'ps', '--output=json');
  return out === '' ? [] : (JSON.parse(out) as PodsDocument).pods;
}

async function allRun(): Promise<boolean> {
  const all = await pods();
  return (
    all.length === names.length &&
    all.every(({ status, ready }) => status === 'Running' && ready === 1)
  );
}

/** Each process of a container, and when it began: ticks since the machine was booted. */
async function processes(): Promise<readonly string[]> {
  const listed = await machine.does(ctr, '--namespace=k8s.io', 'tasks', 'list');
  const ids = listed.split('\n').flatMap((line) => {
    const [, id, pid] = /^(\w{64})\s+(\d+)\s+RUNNING/.exec(line) ?? [];
    return id === undefined || pid === undefined ? [] : [{ id, pid }];
  });
  const paths = ids.map(({ pid }) => `/proc/${pid}/stat`);
  const stats = (await machine.does('cat', ...paths)).trim().split('\n');
  return ids.map(({ id, pid }, at) => `${id} ${pid} ${stats[at]?.split(' ')[21]}`).toSorted();
}

/** Who holds a shutdown back. */
const locks = async (): Promise<string> => machine.does('systemd-inhibit', '--list', '--no-legend');

const isHeld = async (): Promise<boolean> =>
  /^kubelet +0 +root .* shutdown +Kubelet needs time to handle node shutdown +delay$/m.test(
    await locks(),
  );

/** For how long logind lets it be held back, in microseconds. */
async function longestDelay(): Promise<string> {
  const login = ['org.freedesktop.login1', '/org/freedesktop/login1'];
  const name = ['org.freedesktop.login1.Manager', 'InhibitDelayMaxUSec'];
  return machine.does('busctl', 'get-property', ...login, ...name);
}

interface Noted {
  readonly what: string;
  readonly atSeconds: number;
}

/** What a pod has noted. */
function noted(pod: string): readonly Noted[] {
  const lines = readFileSync(join(machine.shared, pod), 'utf8').trim().split('\n');
  return lines.map((line) => {
    const [seconds, what = ''] = line.split(' ');
    return { what, atSeconds: Number(seconds) };
  });
}

const events = (pod: string): readonly string[] => noted(pod).map(({ what }) => what);

const at = (pod: string, what: string): number =>
  noted(pod).find((each) => each.what === what)?.atSeconds ?? Number.NaN;

describe.skipIf(blocked !== undefined)(
  `a node as it is installed (${blocked ?? 'in the guest'})`,
  () => {
    beforeAll(async () => {
      await machine.open();
      await writeNodeFiles(machine.folder, machine.shared);
      await machine.boot();
    });

    afterAll(async () => machine.close());

    it('is installed by the script, which says what is missing, and starts nothing', async () => {
      const before = await machine.run(script(first), '--check');
      expect(before.code).toBe(0);
      expect(before.err).toContain('no containerd at /run/containerd/containerd.sock');
      expect(before.err).toContain('no CNI configuration in /etc/cni/net.d');
      await bring(
        'etc/containerd/config.toml',
        'etc/systemd/system/containerd.service.d/release.conf',
        'etc/cni/net.d/10-pods.conflist',
      );
      await machine.does('systemctl', 'daemon-reload');
      await machine.does('systemctl', 'start', 'containerd');
      for (const image of ['pause', 'busybox']) {
        const tar = join(machine.folder, `images/${image}.tar`);
        await machine.does(ctr, '--namespace=k8s.io', 'images', 'import', tar);
      }
      const { code, out, err } = await machine.run(script(first));
      expect([code, err]).toEqual([0, '']);
      expect(out).toContain(`installed Switchyard ${first}`);
      expect(await systemd('is-enabled', unit)).toBe('disabled');
      expect(await systemd('is-active', unit)).toBe('inactive');
    });

    it('runs the static pods of a node without a cluster, as a service', async () => {
      await bring('etc/switchyard/kubelet.yaml', 'etc/switchyard/kubelet.env');
      for (const name of names) await bring(`etc/kubernetes/manifests/${name}.json`);
      await machine.does('systemctl', 'enable', '--now', unit);
      await machine.until('all pods run', allRun);
      expect(await systemd('is-active', unit)).toBe('active');
      expect(names.map(events)).toEqual(names.map(() => ['start']));
      expect(await systemd('is-system-running')).toBe('running');
      const flag = '--config=/etc/switchyard/kubelet.yaml';
      const { code, out } = await machine.run('switchyard', 'doctor', '--kubelet', flag);
      expect(out).toContain('0 failures, 0 warnings');
      expect(out).toMatch(/cgroup\.driver +systemd, as the runtime/);
      expect(code).toBe(0);
    });

    it.each([
      ['is restarted', async () => machine.does('systemctl', 'restart', unit)],
      [
        'is killed',
        async () => machine.does('systemctl', 'kill', '--signal=KILL', '--kill-who=main', unit),
      ],
      [
        'is upgraded',
        async () => {
          expect(await machine.does(script(second))).toContain('restarted; pods ran on');
          const kept = [first, second, 'current'].map((name) => `${name}\n`);
          expect(await machine.does('ls', programs)).toBe(kept.join(''));
        },
      ],
      [
        'is removed and installed anew',
        async () => {
          expect(await machine.does(script(second), '--uninstall')).toContain('Pods run on');
          expect(await systemd('is-active', unit)).toBe('inactive');
          expect(await locks()).toBe('');
          await machine.until('logind waits as long as it does by itself', async () => {
            return (await longestDelay()) === 't 5000000\n';
          });
          expect(
            (await machine.run('ls', programs, `/etc/systemd/system/${unit}.service`)).out,
          ).toBe('');
          expect(await processes()).toHaveLength(2 * names.length);
          await machine.does(script(second), '--start');
        },
      ],
    ])('leaves each process of its pods alone when the agent %s', async (_what, happens) => {
      const before = { pods: await processes(), agent: await property('MainPID') };
      expect(before.pods).toHaveLength(2 * names.length);
      await happens();
      await machine.until('another agent runs all pods', async () => {
        return (await property('MainPID')) !== before.agent && (await allRun());
      });
      expect(await processes()).toEqual(before.pods);
      expect(machine.console).not.toMatch(
        /switchyard-kubelet.*(?:timed out|Failed with result 'timeout')/,
      );
      expect(names.map(events)).toEqual(names.map(() => ['start']));
    });

    it('runs the release that was installed last', async () => {
      const agent = await machine.does('readlink', `/proc/${await property('MainPID')}/exe`);
      expect(agent).toBe(`${programs}/${second}/node\n`);
    });

    it('holds a shutdown back, for as long as its pods are given', async () => {
      await machine.until('the lock is held', isHeld);
      await machine.until('the lock may be held for so long', async () => {
        return (await longestDelay()) === 't 45000000\n';
      });
      await machine.does('systemctl', 'restart', 'systemd-logind');
      await machine.until('the lock is held by another logind', isHeld);
      expect(await longestDelay()).toBe('t 45000000\n');
    });

    it('has a slice of systemd for each pod, with its limits, which goes with the pod', async () => {
      const uid = (await pods()).find(({ name }) => name === 'brief-n1')?.uid ?? '';
      const slice = `kubepods-burstable-pod${uid}.slice`;
      const wanted = ['CPUWeight', 'CPUQuotaPerSecUSec', 'MemoryMax', 'TasksMax'];
      expect((await systemd('show', slice, `--property=${wanted.join(',')}`)).split('\n')).toEqual([
        'CPUWeight=4',
        'CPUQuotaPerSecUSec=500ms',
        `MemoryMax=${64 * 1024 ** 2}`,
        'TasksMax=100',
      ]);
      const slices = async (): Promise<readonly string[]> => {
        const listed = await systemd('list-units', '--plain', '--no-legend', 'kubepods*.slice');
        return listed.split('\n').map((line) => line.split(' ')[0] ?? '');
      };
      expect(await slices()).toContain(slice);
      await machine.does('rm', '/etc/kubernetes/manifests/brief.json');
      await machine.until('three pods are left', async () => (await pods()).length === 3);
      expect(events('brief')).toEqual(['start', 'TERM']);
      await machine.until('its slice is gone', async () => !(await slices()).includes(slice));
      // those of three pods, of their class, of the one of the pod that is gone, and of all
      expect(await slices()).toHaveLength(6);
    });

    it('lets pods end in order when the machine is shut down', async () => {
      await machine.does('systemctl', 'poweroff');
      await machine.isOff();
      expect(events('web')).toEqual(['start', 'preStop', 'TERM', 'end']);
      expect(events('critical')).toEqual(['start', 'TERM', 'end']);
      expect(events('stubborn')).toEqual(['start', 'TERM']);
      for (const before of [at('web', 'end'), at('stubborn', 'TERM')])
        expect(at('critical', 'TERM')).toBeGreaterThan(before);
      const told = machine.console.slice(machine.console.lastIndexOf('the machine is shut down'));
      expect(told).toMatch(
        /pods end.*have not ended in the time they had.*pods have ended, the shutdown goes on.*Stopping switchyard-kubelet.*reboot: Power down/s,
      );
    });
  },
);
