import { ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { SyntaxProblem } from '@dogwatch/process/quantity.ts';
import { laneOptions, upstreamOptions } from '@dogwatch/sidecar/edge-options.ts';
import { memberOptions } from './member-options.ts';
import { checkNats } from './nats-options.ts';
import { checkPartition, type Partitions, parsePartitions } from './partition-option.ts';

/** Every option of `dogwatch ingest`. */
export const ingestOptions = defineOptions({
  ...upstreamOptions,
  ...laneOptions,
  partitions: {
    type: 'list',
    default: ['leases.coordination.k8s.io=16', 'pods=4'],
    placeholder: 'RESOURCE=N,...',
    check: checkPartition,
    help: 'Partitions of busy resources, 1 to 64, each with caches of its own; others have one. All ingests need the same.',
  },
  'ring-bytes': {
    type: 'bytes',
    default: '64Mi',
    min: '1Mi',
    max: '16Gi',
    help: 'Most bytes of recent events kept for each resource and encoding, from which the log and followers catch up.',
  },
  'log-bytes': {
    type: 'bytes',
    default: '128Mi',
    min: '1Mi',
    max: '1Ti',
    help: 'Most bytes of events of each resource kept in NATS, which reserves as many; the oldest go first.',
  },
  'log-age': {
    type: 'duration',
    default: '1h',
    min: '1m',
    max: '168h',
    help: 'How long events are kept in NATS.',
  },
  'log-storage': { type: 'enum', values: ['file', 'memory'], default: 'file', help: 'Where NATS keeps them.' },
  ...memberOptions('ingest'),
});

export interface IngestProcessConfig extends Omit<ConfigOf<typeof ingestOptions>, 'partitions'> {
  readonly partitions: Partitions;
}

/** The configuration, its partitions read. Throws ConfigError where it contradicts itself. */
export function checkIngestConfig(resolved: ResolvedConfig<typeof ingestOptions>): IngestProcessConfig {
  checkNats(resolved);
  try {
    return { ...resolved.config, partitions: parsePartitions(resolved.config.partitions) };
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    throw new ConfigError('ConflictingOptions', `--partitions ${error.message}`);
  }
}
