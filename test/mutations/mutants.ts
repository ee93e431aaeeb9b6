import type { Mutant } from './mutant.ts';
import { EDGE_MUTANTS } from './mutants/edge.ts';
import { INGEST_MUTANTS } from './mutants/ingest.ts';
import { REPLICA_MUTANTS } from './mutants/replica.ts';
import { SHARD_MUTANTS } from './mutants/shard.ts';
import { CACHE_MUTANTS } from './mutants/cache.ts';
import { WATCHER_MUTANTS } from './mutants/watchers.ts';

/** All bugs that are planted, one after the other. */
export const MUTANTS: readonly Mutant[] = [
  ...CACHE_MUTANTS,
  ...WATCHER_MUTANTS,
  ...REPLICA_MUTANTS,
  ...SHARD_MUTANTS,
  ...INGEST_MUTANTS,
  ...EDGE_MUTANTS,
];
