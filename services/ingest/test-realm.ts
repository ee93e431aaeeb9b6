import { type MemoryControl, MemoryControlTable, createMemoryControl } from '@dogwatch/bus/memory-control.ts';
import type { ResourceEntry } from '@dogwatch/bus/lane-directory.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { LaneRequestKind, LaneRequests } from '@dogwatch/bus/bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import type { Discovery, ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { Ingest, type IngestConfig } from './ingest.ts';
import { LeasedReigns } from './leased-reigns.ts';
import { Follower, silent } from './test-lane.ts';
import { TestLog } from './test-log.ts';
import { PODS, TestUpstream } from './test-upstream.ts';

const INFO: ResourceInfo = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };
export const KEY = 'ingest/core/pods';

/** What several ingests share: a bus, a control table, the logs and the time. */
export class TestRealm {
  readonly bus = new MemoryBus();
  readonly clock = createFakeClock();
  readonly table = new MemoryControlTable();
  readonly log = new TestLog();
  readonly living = new Set<string>();
  readonly started: TestMember[] = [];

  start(name: string, config: Partial<IngestConfig> = {}): TestMember {
    const member = new TestMember(this, name, config);
    this.started.push(member);
    return member;
  }

  follow(partition = 0): Follower {
    return new Follower(this.bus, trackOf(PODS, partition));
  }

  /** The directory's entry of pods. */
  get entry(): ResourceEntry {
    return this.table.entries.get(KEY)?.value as ResourceEntry;
  }

  /** Long enough for a lease to expire and be taken by whoever is next. */
  async expire(): Promise<void> {
    for (let i = 0; i < 35; i++) await this.clock.advanceAsync(100);
  }

  async stop(): Promise<void> {
    for (const member of this.started) await member.stop();
  }
}

/** One of the ingests, with an upstream of its own. */
export class TestMember {
  readonly name: string;
  readonly upstream = new TestUpstream();
  readonly control: MemoryControl;
  readonly ingest: Ingest;
  readonly metrics = createMetrics();
  readonly #realm: TestRealm;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;

  constructor(realm: TestRealm, name: string, config: Partial<IngestConfig>) {
    const { bus, clock, living, log: store, table } = realm;
    this.#realm = realm;
    this.name = name;
    this.control = createMemoryControl(table);
    const shared = { bus, clock, log: silent, random: () => 1 };
    const reigns = new LeasedReigns({
      ...shared,
      control: this.control,
      name,
      members: { alive: () => [...living].toSorted() },
      logs: () => store,
    });
    const discovery = { lookup: () => Promise.resolve(INFO) } as unknown as Discovery;
    const { metrics, upstream } = this;
    const deps = { ...shared, reigns, upstream, discovery, metrics };
    const limits = { maxLanes: 10, ringBytesMax: 1_000_000, retainListingMs: 60_000, laneIdleMs: 600_000 };
    living.add(name);
    this.ingest = new Ingest(deps, { ...limits, ...config });
    this.#running = this.ingest.run(this.#abort.signal);
  }

  ask<K extends LaneRequestKind>(kind: K, request: LaneRequests[K]['request']): Promise<LaneRequests[K]['reply']> {
    return this.#realm.bus.request(kind, request, this.name);
  }

  /** Value of a counter or gauge. */
  async metric(name: string): Promise<number> {
    const line = (await this.metrics.text()).split('\n').find((it) => it.startsWith(`dogwatch_${name} `));
    return Number(line?.split(' ')[1]);
  }

  /** Clean end. */
  async stop(): Promise<void> {
    this.#realm.living.delete(this.name);
    this.#abort.abort();
    await this.#running;
  }
}
