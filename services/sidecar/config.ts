import type { ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { processOptions } from '@dogwatch/process/process-options.ts';
import { checkEdge, historyOptions, laneOptions, servingOptions, upstreamOptions } from './edge-options.ts';

/**
 * Every option of `dogwatch sidecar`, under kube-apiserver's name where it has one. Durations are milliseconds once
 * resolved, sizes bytes.
 */
export const sidecarOptions = defineOptions({
  ...upstreamOptions,
  ...servingOptions,
  ...historyOptions,
  ...laneOptions,
  ...processOptions,
});

export type SidecarConfig = ConfigOf<typeof sidecarOptions>;

/** The configuration, once options that contradict each other are ruled out. Throws ConfigError. */
export function checkSidecarConfig(resolved: ResolvedConfig<typeof sidecarOptions>): SidecarConfig {
  checkEdge(resolved);
  return resolved.config;
}
