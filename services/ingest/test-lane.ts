import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { podSchema } from '@dogwatch/watch/test-objects.ts';
import { WHOLE_VERSION, WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { type IngestCounters, createCounters } from './counters.ts';
import type { LaneType } from './lane-type.ts';
import { type Epochs, Publisher, type PublisherOptions } from './publisher.ts';
import type { LiveTrack } from './live-tracks.ts';
import { Reflector } from './reflector.ts';
import { PODS, TestUpstream } from './test-upstream.ts';
import { Turnstile } from './turnstile.ts';

export const POD_TYPE: LaneType = {
  schema: podSchema,
  kind: 'Pod',
  apiVersion: 'v1',
  listKind: 'PodList',
  layout: 'typed',
};

export const silent = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

/** Of a lane that nobody else publishes. */
export const SOLO_EPOCHS: Epochs = { next: (after) => after + 1, declare: () => undefined };

/** A publisher that leads one track for each partition: `t`, or `t0`, `t1` and so on. */
export function leadingPublisher(bus: MemoryBus, options: Partial<PublisherOptions> = {}): Publisher {
  const { partitions = 1 } = options;
  const publisher = new Publisher({
    bus,
    clock: createFakeClock(),
    epochs: SOLO_EPOCHS,
    partitions,
    ringBytesMax: 0,
    retainListingMs: 0,
    gatherMs: 0,
    ...options,
  });
  publisher.lead(tracksOf(partitions));
  return publisher;
}

/** What `leadingPublisher` leads, behind version `above`. */
export function tracksOf(partitions: number, { above = 0, term = 0 } = {}): LiveTrack[] {
  return Array.from({ length: partitions }, (_, partition) => ({
    track: partitions === 1 ? 't' : `t${partition}`,
    term,
    above: { rv: above, index: WHOLE_VERSION },
    tail: undefined,
  }));
}

/** Follows a track as a shard does: any gap throws. */
export class Follower {
  /** What came, as `kind epoch`. */
  readonly seen: string[] = [];
  #cache: WatchCache | undefined;
  #epoch = 0;

  constructor(bus: MemoryBus, track: string) {
    bus.follow(track, (envelope) => this.#take(envelope));
  }

  get cache(): WatchCache {
    return this.#cache!;
  }

  /** `TYPE name@rv` of all changes since `rv`. */
  since(rv: number): string[] {
    const { window } = this.cache;
    const found: string[] = [];
    for (let at = window.after(rv); at < window.end; at++) {
      const { type, object, rv: version } = window.at(at);
      found.push(`${type} ${object.name}@${version}`);
    }
    return found;
  }

  #take(envelope: Envelope): void {
    this.seen.push(`${envelope.kind} ${envelope.epoch}`);
    switch (envelope.kind) {
      case 'listing':
        if (envelope.epoch === this.#epoch && this.#cache?.repair(envelope.listing) === true) return;
        this.#epoch = envelope.epoch;
        this.#cache = new WatchCache(envelope.facts.schema, envelope.listing, {
          windowBytesMax: 1_000_000,
          tombstoneBytesMax: 0,
          stateDiff: false,
        });
        break;
      case 'batch':
        this.cache.apply(envelope.batch);
        break;
      case 'watermark':
        this.cache.advance(envelope.rv, envelope.previous);
        break;
      case 'listed':
      case 'end':
        break;
    }
  }
}

/** A reflector over a scripted upstream, and what follows it. */
export class TestLane {
  readonly clock: FakeClock = createFakeClock();
  readonly upstream = new TestUpstream();
  readonly counters: IngestCounters = createCounters();
  readonly abort = new AbortController();
  readonly publisher: Publisher;
  readonly follower: Follower;
  readonly reflector: Reflector;
  readonly running: Promise<'closed' | 'gone'>;

  /** `stands`: of a custom resource; see ReflectorOptions. */
  constructor(listings = new Turnstile(1), stands?: () => Promise<boolean>) {
    const bus = new MemoryBus();
    this.publisher = leadingPublisher(bus, { clock: this.clock });
    this.follower = new Follower(bus, 't');
    const { clock, upstream, counters, publisher } = this;
    const common = { lane: PODS, type: POD_TYPE, log: silent, random: () => 1 };
    this.reflector = new Reflector({ ...common, upstream, publisher, listings, clock, counters, stands });
    this.running = this.reflector.run(this.abort.signal);
  }

  get cache(): WatchCache {
    return this.follower.cache;
  }
}
