// Makes a checkout ready: npm packages, then the system tools the agent drives. Runs on Node 20 or newer
// with nothing installed, says what it does, and is quick and silent when nothing is missing.
// usage: node scripts/setup.mjs [--packages-only | --vm | --systemd | --kubelet]
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const root = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..');
const lockFile = join(root, 'package-lock.json');
const installed = join(root, 'node_modules', '.package-lock.json');

/** What each system tool is for, and the Debian package that has it. */
const tools = [
  { tool: 'iptables-restore', package: 'iptables' },
  { tool: 'ip6tables-restore', package: 'iptables' },
  { tool: 'ipset', package: 'ipset' },
  { tool: 'conntrack', package: 'conntrack' },
  { tool: 'nfacct', package: 'nfacct' },
  { tool: 'ip', package: 'iproute2' },
  { tool: 'nft', package: 'nftables' },
];

/** What the virtual machine of `npm run test:vm` is made of, and what runs in it. */
const vmTools = [
  { tool: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  { tool: 'busybox', package: 'busybox-static' },
  { tool: 'cpio', package: 'cpio' },
  { tool: 'depmod', package: 'kmod' },
  { tool: 'ipvsadm', package: 'ipvsadm' },
  { tool: 'python3', package: 'python3' },
];

/** What the nodes of `npm run test:kubelet` are made of, and the one in the virtual machine. */
const nodeTools = [
  { tool: 'containerd', package: 'containerd' },
  { tool: 'runc', package: 'runc' },
  { tool: '/usr/lib/cni/bridge', package: 'containernetworking-plugins' },
  { tool: 'busybox', package: 'busybox-static' },
  { tool: 'catatonit', package: 'catatonit' },
  { tool: 'openssl', package: 'openssl' },
];

/** What is process 1 of the virtual machine of `npm run test:vm:systemd`, and what it speaks by. Nothing of it is started here. */
const systemdTools = [
  { tool: '/lib/systemd/systemd', package: 'systemd' },
  { tool: 'dbus-daemon', package: 'dbus' },
];

installPackages();
if (process.argv.includes('--kubelet')) installTools([...tools, ...nodeTools]);
else if (process.argv.includes('--systemd'))
  installTools([...tools, ...vmTools, ...nodeTools, ...systemdTools]);
else if (process.argv.includes('--vm')) installTools([...tools, ...vmTools, ...nodeTools]);
else if (!process.argv.includes('--packages-only')) installTools(tools);

function installPackages() {
  if (packagesFresh()) return;
  say('installing npm packages (npm ci) …');
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (npm.status !== 0) fail('npm ci failed; its own message stands above', npm.status ?? 1);
}

/** Whether what npm noted of its last installation, by whatever command, is what the lock file asks for. */
function packagesFresh() {
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(lockFile, 'utf8')).packages;
  const found = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const names = Object.keys(wanted).filter((name) => name !== '');
  return (
    Object.keys(found).every((name) => name in wanted) &&
    names.every((name) =>
      name in found ? found[name].integrity === wanted[name].integrity : wanted[name].optional,
    )
  );
}

function installTools(wanted) {
  const missing = wanted.filter(({ tool }) => !onPath(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((entry) => entry.package))];
  const names = missing.map((entry) => entry.tool).join(', ');
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (process.getuid?.() !== 0 || !onPath('apt-get')) {
    say(`missing system tools: ${names}`);
    say(`install them as root, for example: ${command}`);
    say('going on without them; what needs them is skipped and named');
    return;
  }
  say(`missing system tools: ${names}; running apt-get install ${packages.join(' ')} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args) =>
    spawnSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] }).status;
  const install = ['install', '-y', '--no-install-recommends', ...packages];
  if (apt(...install) !== 0 && (apt('update') !== 0 || apt(...install) !== 0)) {
    say(`apt-get could not install them; try by hand: ${command}`);
  }
}

function onPath(tool) {
  if (tool.startsWith('/')) return existsSync(tool);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(text, status) {
  say(text);
  process.exit(status);
}
