import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConfigValue } from '../config/config-object.ts';
import type { FlagValues } from '../config/flag-table.ts';
import type { KubeletConfig } from '../config/kubelet-config.ts';
import { kubeletConfigObject } from '../config/kubelet-config-object.ts';
import { kubeletFileKind, readKubeletFiles } from '../config/kubelet-file.ts';
import type { KubeletFile } from '../config/kubelet-file.ts';
import { kubeletFlags } from '../config/kubelet-flags.ts';
import { kubeletConfig } from '../config/read-kubelet-config.ts';
import { SwitchyardError, errorText } from '../error.ts';

/** The configuration of a kubelet that is to be used. */
export interface ReadKubeletConfig {
  readonly config: KubeletConfig;
  /** The same as a file would have it, for /configz. */
  readonly shown: { readonly [name: string]: ConfigValue };
  /** What was given and has no effect, in words. */
  readonly warnings: readonly string[];
}

/** From the flags, the file that --config names, and the drop-ins of --config-dir. */
export async function readKubeletConfig(flags: FlagValues): Promise<ReadKubeletConfig> {
  const path = flags.text('config');
  const files = [
    ...(path === '' ? [] : [await fileAt('--config', path)]),
    ...(await dropIns(flags.text('configDir'))),
  ];
  const settings = readKubeletFiles(files, kubeletFlags, flags);
  const config = kubeletConfig(settings.flags);
  const shown = kubeletConfigObject(kubeletFlags, settings.flags, config);
  return { config, shown, warnings: settings.warnings };
}

async function dropIns(folder: string): Promise<readonly KubeletFile[]> {
  if (folder === '') return [];
  const names = await readdir(folder).catch((cause: unknown) => {
    throw unreadable('--config-dir', folder, cause);
  });
  const paths = names.filter((name) => name.endsWith('.conf')).toSorted();
  return Promise.all(paths.map(async (name) => fileAt('--config-dir', join(folder, name))));
}

async function fileAt(flag: string, path: string): Promise<KubeletFile> {
  try {
    return { path, text: await readFile(path, 'utf8') };
  } catch (cause) {
    throw unreadable(flag, path, cause);
  }
}

function unreadable(flag: string, path: string, cause: unknown): SwitchyardError {
  return new SwitchyardError('usage', `${flag}: cannot read ${path}: ${errorText(cause)}`, {
    cause,
    hint: `name a ${kubeletFileKind.kind} file that this user may read`,
  });
}
