import { readFile } from 'node:fs/promises';
import { readConfigFile } from '../config/config-file.ts';
import { configObject } from '../config/config-object.ts';
import { gateStates } from '../config/feature-gates.ts';
import type { FlagValues } from '../config/flag-table.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import { proxyConfig } from '../config/read-proxy-config.ts';
import { SwitchyardError, errorText } from '../error.ts';

/** The configuration that is to be used. */
export interface ReadConfig {
  readonly config: ProxyConfig;
  readonly warnings: readonly string[];
  /** All of it as a KubeProxyConfiguration. */
  readonly effectiveConfig: () => ReturnType<typeof configObject>;
  /** What the case is for the feature gates of a service proxy. */
  readonly features: ReturnType<typeof gateStates>;
}

/** From the flags, or from the file that --config names. */
export async function readConfig(flags: FlagValues): Promise<ReadConfig> {
  const path = flags.text('config');
  return configFrom(flags, path === '' ? undefined : await readConfigText(path));
}

/** From the flags, or from the text of the file that --config names. */
export function configFrom(flags: FlagValues, text: string | undefined): ReadConfig {
  const file =
    text === undefined
      ? { flags, warnings: [] }
      : readConfigFile(text, flags.text('config'), proxyFlags, flags);
  const warnings = [...file.warnings];
  const config = proxyConfig(file.flags, (warning) => warnings.push(warning));
  return {
    config,
    warnings,
    effectiveConfig: () => configObject(proxyFlags, file.flags, config),
    features: gateStates(file.flags),
  };
}

/** The text of a configuration file. */
export async function readConfigText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SwitchyardError('usage', `--config: cannot read ${path}: ${errorText(cause)}`, {
      cause,
      hint: 'name a KubeProxyConfiguration file that this user may read',
    });
  }
}
