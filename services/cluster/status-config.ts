import type { ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { processOptions } from '@dogwatch/process/process-options.ts';
import { checkNats, natsOptions } from './nats-options.ts';

/** Every option of `dogwatch status`. */
export const statusOptions = defineOptions({
  o: {
    type: 'enum',
    values: ['table', 'json'],
    default: 'table',
    help: 'Form of the output, as with kubectl.',
  },
  ...natsOptions,
  config: processOptions.config,
  v: processOptions.v,
});

export type StatusConfig = ConfigOf<typeof statusOptions>;

/** Throws ConfigError where the configuration contradicts itself. */
export function checkStatusConfig(resolved: ResolvedConfig<typeof statusOptions>): StatusConfig {
  checkNats(resolved);
  return resolved.config;
}
