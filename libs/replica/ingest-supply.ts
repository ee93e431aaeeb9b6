import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Lack, LaneSupply } from './lane-supply.ts';

/** Lanes straight from the ingest that reads them, where there are no shards between: it lists anew what is missing. */
export function createIngestSupply(bus: Bus): LaneSupply {
  return {
    open: async (lane: Lane) => (await bus.request('open', { lane })).partitions,
    release: (lane: Lane) => bus.request('close', { lane }),
    // The ingest has closed it.
    ended: () => undefined,
    recover: async ({ lane }: Lack) => {
      await bus.request('repair', { lane });
      return 'published';
    },
  };
}
