import process from 'node:process';
import packageJson from '../../package.json' with { type: 'json' };
import type { VersionForm } from '../config/parse-flags.ts';

/** The version of this program. */
export const version: string = packageJson.version;

/** What `--version` prints: a line for people, or (`raw`) all there is to know as JSON. */
export function versionText(form: VersionForm): string {
  if (form === 'short') return `Switchyard ${version}\n`;
  const { arch, platform, versions } = process;
  const told = {
    program: 'Switchyard',
    version,
    node: versions.node,
    platform: `${platform}/${arch}`,
  };
  return `${JSON.stringify(told)}\n`;
}
