import type { NatsBus, NatsBusCounters } from '@dogwatch/bus/nats-bus.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';

const COUNTERS: Readonly<Record<keyof NatsBusCounters, { readonly name: string; readonly help: string }>> = {
  published: { name: 'bus_envelopes_published_total', help: 'Envelopes handed to NATS' },
  publishedBytes: { name: 'bus_published_bytes_total', help: 'Bytes handed to NATS in envelopes' },
  dropped: {
    name: 'bus_envelopes_dropped_total',
    help: 'Envelopes not published: disconnected, or NATS took too little',
  },
  received: { name: 'bus_envelopes_received_total', help: 'Envelopes received' },
  gaps: { name: 'bus_gaps_total', help: 'Envelopes that are missing by their numbers' },
  reordered: { name: 'bus_envelopes_reordered_total', help: 'Envelopes numbered below one that came before' },
  repeated: {
    name: 'bus_envelopes_repeated_total',
    help: 'Repetitions of the last envelope of a track, heartbeats among them',
  },
  deposed: { name: 'bus_envelopes_deposed_total', help: 'Envelopes of a publisher that was replaced, dropped' },
  unreadable: { name: 'bus_messages_unreadable_total', help: 'Messages that are no envelope of their track' },
  disconnects: { name: 'bus_disconnects_total', help: 'Times the connection to NATS was lost' },
};

export function registerBusMetrics(metrics: Metrics, bus: NatsBus): void {
  for (const [key, { name, help }] of Object.entries(COUNTERS)) {
    metrics.counter({
      name,
      help,
      collect: (family) => void (family.labels({}).value = bus.counters[key as keyof NatsBusCounters]),
    });
  }
  metrics.gauge({
    name: 'bus_connected',
    help: '1 while there is a connection to NATS',
    collect: (family) => void (family.labels({}).value = bus.connected ? 1 : 0),
  });
}
