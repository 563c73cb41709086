import { stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';

import { isAbsent, SwitchyardError } from '../../error.ts';
import { KeptFile } from '../../host/kept-file.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Pod } from '../pod/pod.ts';
import { textOf } from '../pod/raw-fields.ts';
import type { ClaimedFolder } from './claims.ts';
import { checkHostPath } from './host-path.ts';
import { giveToGroup } from './ownership.ts';

/**
 * Checks that the folder of a PersistentVolume is there. Of a hostPath only what its type asks for is checked, or made; a `local` one has to
 * be a folder, for no device is formatted here.
 */
export async function checkClaimed({ source, path, type, volume }: ClaimedFolder): Promise<void> {
  if (source === 'hostPath') {
    await checkHostPath({ path, type });
    return;
  }
  const found = await present(path);
  if (found === undefined) throw refusal(volume, `path ${JSON.stringify(path)} does not exist`);
  if (!found.isDirectory()) throw refusal(volume, `path ${JSON.stringify(path)} is no directory`);
}

/** Gives a `local` folder to the pod's group; a hostPath stays as it is (`PodSecurityContext.fsGroup` of the API). */
export async function giveClaimed(
  { source, path }: ClaimedFolder,
  { spec }: Pick<Pod, 'spec'>,
): Promise<void> {
  if (source === 'local') await giveToGroup(path, spec.securityContext);
}

/** Notes what a claim was bound to: a pod that runs needs no API server to go on, and is bound to the same for as long as it lives. */
export async function keepClaimed(file: string, folder: ClaimedFolder): Promise<void> {
  await noteOf(file).write(JSON.stringify(folder));
}

/** What an earlier process noted; undefined: nothing, or nothing that can be read. */
export async function keptClaimed(file: string): Promise<ClaimedFolder | undefined> {
  let value: unknown;
  try {
    value = JSON.parse((await noteOf(file).read()) ?? 'null');
  } catch {
    return undefined;
  }
  if (!isRaw(value)) return undefined;
  const { source } = value;
  const [path, volume] = [textOf(value['path']), textOf(value['volume'])];
  if ((source !== 'hostPath' && source !== 'local') || !path.startsWith('/')) return undefined;
  return { source, path, volume, type: textOf(value['type']) };
}

function noteOf(file: string): KeptFile {
  return new KeptFile(file, { mode: 0o640, folderMode: 0o750 });
}

async function present(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function refusal(volume: string, why: string): SwitchyardError {
  return new SwitchyardError('object', `PersistentVolume ${volume}: ${why}`, { retryable: true });
}
