import type { ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import {
  checkEdge,
  historyOptions,
  laneOptions,
  servingOptions,
  upstreamOptions,
} from '@dogwatch/sidecar/edge-options.ts';
import { memberOptions } from './member-options.ts';
import { checkNats } from './nats-options.ts';

/** Every option of `dogwatch fanout`. */
export const fanoutOptions = defineOptions({
  ...upstreamOptions,
  ...servingOptions,
  ...historyOptions,
  'lane-idle-timeout': laneOptions['lane-idle-timeout'],
  ...memberOptions('fanout'),
});

export type FanoutProcessConfig = ConfigOf<typeof fanoutOptions>;

/** Throws ConfigError where the configuration contradicts itself. */
export function checkFanoutConfig(resolved: ResolvedConfig<typeof fanoutOptions>): FanoutProcessConfig {
  checkEdge(resolved);
  checkNats(resolved);
  return resolved.config;
}
