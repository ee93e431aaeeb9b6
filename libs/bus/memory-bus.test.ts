import { describeBus } from './bus-conformance.ts';
import { MemoryBus } from './memory-bus.ts';

describeBus('MemoryBus', async () => {
  const bus = new MemoryBus();
  return { publisher: bus, follower: bus, settle: async () => {}, close: async () => {} };
});
