import { describeBus } from './bus-conformance.ts';
import { MemoryBus } from './memory-bus.ts';

describeBus('MemoryBus', async () => ({ bus: new MemoryBus(), settle: async () => {}, close: async () => {} }));
