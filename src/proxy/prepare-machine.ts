import { prepareNode } from './backends.ts';
import type { BackendsOptions } from './open-mode.ts';
import { hasRules } from './has-rules.ts';
import { adjustOomScore } from '../host/oom-score.ts';
import { tuneConntrack } from './kernel-settings.ts';
import { loadRuleModules } from './rule-modules.ts';

/** Makes of the kernel and of this process what comes before rules; with --init-only, all that needs privileges. */
export async function prepareMachine(options: BackendsOptions, signal: AbortSignal): Promise<void> {
  const { config, log, sysctls } = options;
  if (hasRules(config)) {
    await adjustOomScore(config.oomScoreAdj, log);
    if (config.initOnly) await loadRuleModules(options, signal);
    await tuneConntrack(config.conntrack, sysctls, log);
  }
  if (!config.initOnly) return;
  await prepareNode(options, signal);
  log.info({}, 'privileged settings are made; ending, as --init-only asks');
}
