import { NatsCheckpoints } from '@dogwatch/bus/nats-checkpoints.ts';
import { NatsLog } from '@dogwatch/bus/nats-log.ts';
import { runAll } from '@dogwatch/process/lifecycle.ts';
import { NatsArchive } from '@dogwatch/shard/nats-archive.ts';
import { Shard } from '@dogwatch/shard/shard.ts';
import { createAdmin } from './admin.ts';
import { memberLog, withMember } from './member.ts';
import type { ShardProcessConfig } from './shard-config.ts';

/** A shard as a process of its own. Resolves when it has drained after `signal`; rejects with what says what to do. */
export async function runShard(config: ShardProcessConfig, signal: AbortSignal): Promise<void> {
  const log = memberLog(config);
  await withMember('shard', { config, log }, async (member) => {
    const { port, clock, membership } = member;
    const nats = {
      port,
      clock,
      log,
      prefix: config.natsPrefix,
      replicas: config.natsReplicas,
      storage: 'file',
    } as const;
    const checkpoints = new NatsCheckpoints({ ...nats, maxBytes: config.checkpointBytes });
    await checkpoints.open();
    // A log is made by the ingest that writes it; here it is only read.
    const logOf = ({ group, resource }: { group: string; resource: string }): NatsLog =>
      new NatsLog({ ...nats, resource: { group, resource }, maxBytes: 0, maxAgeMs: 0 });
    const archive = new NatsArchive({ checkpoints, logOf, clock, log });
    const shard = new Shard(
      { ...member, members: membership, archive, checkpoints },
      {
        name: config.name,
        windowBytesMax: config.windowBytes,
        tombstoneBytesMax: config.tombstoneBytes,
        checkpointIntervalMs: config.checkpointInterval,
      },
    );
    const { admin, announcement } = createAdmin(config, member);
    await runAll([[membership, announcement], [shard, member.statusOf(shard)], [admin]], signal);
  });
  log.info('stopped');
}
