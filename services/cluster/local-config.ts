import { join } from 'node:path';
import { ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { processOptions, STATE_DIRECTORY, stateDirectory } from '@dogwatch/process/process-options.ts';
import { servingOptions, upstreamOptions } from '@dogwatch/sidecar/edge-options.ts';

/** Every option of `dogwatch cluster up`. */
export const localOptions = defineOptions({
  local: {
    type: 'bool',
    default: false,
    help: 'As processes of this machine, the only place this command knows.',
  },
  kubeconfig: upstreamOptions.kubeconfig,
  context: upstreamOptions.context,
  'data-dir': {
    type: 'path',
    placeholder: 'DIR',
    default: { from: (env) => join(stateDirectory(env), 'cluster'), shown: `${STATE_DIRECTORY}/cluster` },
    help: 'Where logs, certificates and what NATS stores are kept.',
  },
  'write-kubeconfig': {
    ...servingOptions['write-kubeconfig'],
    help: 'Writes a kubeconfig that leads to the first fan-out, with the same user. Default: dogwatch.kubeconfig in --data-dir.',
  },
  'nats-server-bin': {
    type: 'path',
    mustExist: true,
    help: 'The nats-server to start, 2.11 or newer. Without it: nats-server on the PATH.',
  },
  config: processOptions.config,
  v: processOptions.v,
});

export type LocalConfig = ConfigOf<typeof localOptions>;

/** Throws ConfigError where the configuration asks for what is not offered. */
export function checkLocalConfig({ config }: ResolvedConfig<typeof localOptions>): LocalConfig {
  if (config.local) return config;
  throw new ConfigError(
    'MissingOption',
    '"dogwatch cluster up" needs --local; on Kubernetes, install the chart in helm/dogwatch',
  );
}
