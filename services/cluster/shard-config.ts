import type { ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { historyOptions } from '@dogwatch/sidecar/edge-options.ts';
import { memberOptions } from './member-options.ts';
import { checkNats } from './nats-options.ts';

/** Every option of `dogwatch shard`. */
export const shardOptions = defineOptions({
  ...historyOptions,
  'checkpoint-interval': {
    type: 'duration',
    default: '1m',
    min: '1s',
    max: '1h',
    help: 'How often what is held is written to NATS, from which a restarted shard begins.',
  },
  'checkpoint-bytes': {
    type: 'bytes',
    default: '2Gi',
    min: '1Mi',
    max: '1Ti',
    help: 'Most bytes of that, which NATS reserves: twice what all partitions hold together.',
  },
  ...memberOptions('shard'),
});

export type ShardProcessConfig = ConfigOf<typeof shardOptions>;

/** Throws ConfigError where the configuration contradicts itself. */
export function checkShardConfig(resolved: ResolvedConfig<typeof shardOptions>): ShardProcessConfig {
  checkNats(resolved);
  return resolved.config;
}
