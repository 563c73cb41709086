import { writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import type { FlagValues } from '../config/flag-table.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { CommandIo } from './command.ts';
import { readConfig } from './read-config.ts';

/** `--write-config-to`: the configuration with all defaults filled in, as a file that --config reads. Answers the exit status. */
export async function writeConfig(flags: FlagValues, io: CommandIo): Promise<number> {
  const path = flags.text('writeConfigTo');
  const read = await readConfig(flags);
  for (const warning of read.warnings) io.stderr(`warning: ${warning}\n`);
  for (const server of ['healthz', 'metrics'] as const) {
    if (read.config[`${server}Bind`] !== undefined) continue;
    const text = `no file can say that there is no ${server} server: ${server}BindAddress is empty, and then it has its usual place`;
    io.stderr(`warning: ${text}\n`);
  }
  const text = stringify(read.effectiveConfig(), { version: '1.1' });
  try {
    await writeFile(path, text);
  } catch (cause) {
    throw new SwitchyardError(
      'tool',
      `--write-config-to: cannot write ${path}: ${errorText(cause)}`,
      {
        cause,
      },
    );
  }
  io.stderr(`wrote the configuration to ${path}\n`);
  return 0;
}
