import type { Control } from '@dogwatch/bus/control.ts';
import { type LaneEntry, resourceKey } from '@dogwatch/bus/lane-directory.ts';
import { Lease, LeaseLost } from '@dogwatch/bus/lease.ts';
import { Deposed } from '@dogwatch/bus/nats-appender.ts';
import type { NatsLog } from '@dogwatch/bus/nats-log.ts';
import type { LogResource } from '@dogwatch/bus/nats-subject.ts';
import { ownersOf } from '@dogwatch/bus/ownership.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { Backoff } from './backoff.ts';
import type { LaneGrant, ReignedLanes, TrackAppender, TrackGrant } from './reigns.ts';

/** How much longer each ingest waits than the one that is preferred to it, before it takes a lease that is free. */
const RANK_MS = 1_000;
const RETRY_MS = 250;
/** A request waits so long for this ingest to take over. */
const CLAIM_MS = 5_000;

/** The log of one resource; see NatsLog. */
export type ResourceLog = Pick<NatsLog, 'open'> & { campaign(track: string): Promise<TrackAppender> };

export interface ReignDependencies {
  readonly control: Control;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Of this ingest; unique among them. */
  readonly name: string;
  /** The ingests that live. */
  readonly members: { alive(role: string): readonly string[] };
  /** The log of a resource; its tracks are led one by one. */
  readonly logs: (resource: LogResource) => ResourceLog;
}

/** What the lease of a resource says: who takes it over opens the same lanes. */
interface Directory {
  readonly lanes: readonly LaneEntry[];
}

/**
 * Who leads one resource: whoever holds its lease. The lease decides who works and lists what is read; that no two
 * write one log is the fence of each track. Leading never waits for the table or the log: it ends when a rival is seen.
 */
export class ResourceReign implements Service {
  readonly #deps: ReignDependencies;
  readonly #resource: LogResource;
  readonly #lanes: ReignedLanes;
  readonly #key: string;
  readonly #lease: Lease<Directory>;
  readonly #log: ResourceLog;
  readonly #backoff: Backoff;
  readonly #stopping = new AbortController();
  /** The lanes of this reign; undefined while the lease is not held. */
  #directory: Map<string, LaneEntry> | undefined;
  /** Aborted when it ends. */
  #reign = new AbortController();
  #taking: Promise<void> | undefined;
  #freeSince: number | undefined;
  #lastHolder = '';

  constructor(deps: ReignDependencies, resource: LogResource, lanes: ReignedLanes) {
    const { control, clock, log, name, random, logs } = deps;
    this.#deps = deps;
    this.#resource = { group: resource.group, resource: resource.resource };
    this.#lanes = lanes;
    this.#key = resourceKey(resource);
    this.#log = logs(this.#resource);
    this.#backoff = new Backoff(random);
    this.#reign.abort();
    const content = (before: Directory | undefined): Directory => this.#content(before);
    this.#lease = new Lease({ control, clock, log, key: this.#key, holder: name, content });
  }

  get leads(): boolean {
    return !this.#reign.signal.aborted;
  }

  /** Stands by, and leads when it is its turn, until `signal` aborts; then hands over. */
  async run(signal: AbortSignal): Promise<void> {
    const { control } = this.#deps;
    const stops = [
      this.#lease.onFree(() => this.#onFree()),
      this.#lease.onLost(() => this.#onLost()),
      control.watch(this.#key, (key) => {
        if (key === this.#key) this.#follow();
      }),
    ];
    const stop = (): void => this.#stop();
    // Before the lease hears of it, which is then released: nobody else may publish until we do not.
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    this.#follow();
    try {
      await this.#lease.run(signal);
      await this.#taking;
    } finally {
      signal.removeEventListener('abort', stop);
      for (const each of stops) each();
    }
  }

  /** Resolves once this ingest leads, which it does if nobody else does. Rejects with StatusError (503). */
  async claim(): Promise<void> {
    if (this.leads) return;
    if (this.#lease.holder === undefined || this.#lease.held) {
      const waited = new AbortController();
      const patience = AbortSignal.any([waited.signal, this.#stopping.signal]);
      await Promise.race([this.#acquire(), sleep(this.#deps.clock, CLAIM_MS, patience)]);
      waited.abort();
    }
    if (!this.leads) throw this.#notLeading();
  }

  /** The right to publish a lane of which nothing that was published goes on. Rejects with StatusError (503). */
  async grant(lane: Lane, partitions: number): Promise<LaneGrant> {
    while (this.leads) {
      try {
        const { signal } = this.#reign;
        const appenders = await this.#campaign(lane, partitions);
        if (signal.aborted) break;
        const tracks = appenders.map((appender, partition) =>
          trackGrant(lane, partition, { appender, from: undefined }),
        );
        return { epoch: Math.max(...appenders.map(({ head }) => head.epoch)), tracks, signal, listing: true };
      } catch (error) {
        this.#deps.log.warn({ lane: laneKey(lane), err: error }, 'the log of a lane cannot be led yet');
      }
      await sleep(this.#deps.clock, this.#backoff.next(), this.#stopping.signal);
    }
    throw this.#notLeading();
  }

  /** See Reigns. */
  async renew(track: string): Promise<TrackAppender> {
    if (!this.leads) throw new Deposed(track, 0);
    await this.#log.open();
    return await this.#log.campaign(track);
  }

  /** Has the table name the lane's new history. Rejects with StatusError (503) if that is not ours any more. */
  async declare(lane: Lane, entry: LaneEntry): Promise<void> {
    this.#directory?.set(laneKey(lane), entry);
    while (this.leads) {
      try {
        return await this.#lease.renew();
      } catch (error) {
        if (error instanceof LeaseLost) break;
        this.#deps.log.warn({ lane: laneKey(lane), err: error }, 'a new epoch cannot be made known yet');
      }
      await sleep(this.#deps.clock, RETRY_MS, this.#stopping.signal);
    }
    throw this.#notLeading();
  }

  /** The lane is not read any more; the next renewal says so. */
  forget(lane: Lane): void {
    this.#directory?.delete(laneKey(lane));
  }

  /** The log has another leader: nothing is published until it is clear who it should be. */
  deposed(): void {
    if (!this.leads) return;
    this.#reign.abort();
    this.#lanes.standBy(this.#resource, this.#refreshed());
    this.#taking ??= this.#takeOver(true);
  }

  #notLeading(): StatusError {
    const { holder = 'nobody' } = this.#lease;
    const { group, resource } = this.#resource;
    const what = group === '' ? resource : `${resource}.${group}`;
    return new StatusError(serviceUnavailable(`${this.#deps.name} does not lead ${what}: ${holder} does`, 1));
  }

  /** What the table is told: with what is published now, or what it said before. */
  #content(before: Directory | undefined): Directory {
    return { lanes: this.#directory === undefined ? (before?.lanes ?? []) : this.#refreshed() };
  }

  #refreshed(): LaneEntry[] {
    const directory = this.#directory ?? new Map<string, LaneEntry>();
    for (const [key, entry] of directory) directory.set(key, this.#lanes.entryOf(this.#laneOf(entry)) ?? entry);
    return [...directory.values()];
  }

  #laneOf({ version, encoding, view }: LaneEntry): Lane {
    return { ...this.#resource, version, encoding, view };
  }

  /** Reads what the leader's entry lists. */
  #follow(): void {
    if (this.#lease.held || this.#stopping.signal.aborted) return;
    this.#lastHolder = this.#lease.holder ?? this.#lastHolder;
    if (this.#lease.holder !== undefined) this.#freeSince = undefined;
    this.#lanes.standBy(this.#resource, this.#lease.entry?.lanes ?? []);
  }

  #onLost(): void {
    this.#reign.abort();
    this.#directory = undefined;
    this.#follow();
  }

  /** Takes a lease that is free when it is its turn, unless there is nothing to lead. */
  #onFree(): void {
    const { clock, members, name } = this.#deps;
    const lanes = this.#lease.entry?.lanes ?? [];
    if (lanes.length === 0 || this.#stopping.signal.aborted) return;
    const now = clock.now();
    this.#freeSince ??= now;
    // Whoever had it may still be counted among the living.
    const others = members.alive('ingest').filter((member) => member !== name && member !== this.#lastHolder);
    const rank = ownersOf(this.#key, [...others, name], others.length + 1).indexOf(name);
    if (now - this.#freeSince >= rank * RANK_MS) void this.#acquire();
  }

  async #acquire(): Promise<void> {
    if (!(await this.#lease.acquire()) || this.#stopping.signal.aborted || this.leads) return;
    this.#freeSince = undefined;
    await (this.#taking ??= this.#takeOver(false));
  }

  /** Leads every lane listed, from where its log ends. `disputed`: it must be shown first that the lease is still ours. */
  async #takeOver(disputed: boolean): Promise<void> {
    const { clock, log } = this.#deps;
    const { signal } = this.#stopping;
    try {
      for (let unsure = disputed; this.#lease.held && !signal.aborted;) {
        try {
          if (unsure) await this.#lease.renew();
          if (await this.#leadAll()) return;
          unsure = true;
        } catch (error) {
          if (error instanceof LeaseLost) return;
          unsure = error instanceof Deposed;
          log.warn({ key: this.#key, err: error }, 'a resource cannot be led yet');
        }
        await sleep(clock, this.#backoff.next(), signal);
      }
    } finally {
      this.#taking = undefined;
    }
  }

  async #leadAll(): Promise<boolean> {
    this.#directory ??= new Map(
      (this.#lease.entry?.lanes ?? []).map((entry) => [laneKey(this.#laneOf(entry)), entry] as const),
    );
    await this.#log.open();
    const granted = await Promise.all(
      [...this.#directory.values()].map(async (entry) => {
        const lane = this.#laneOf(entry);
        return { lane, entry, going: resumed(lane, entry, await this.#campaign(lane, entry.partitions)) };
      }),
    );
    if (!this.#lease.held || this.#stopping.signal.aborted) return false;
    this.#backoff.reset();
    const reign = (this.#reign = new AbortController());
    await Promise.all(
      granted.map(({ lane, entry, going }) => this.#lanes.lead(lane, entry, { ...going, signal: reign.signal })),
    );
    return !reign.signal.aborted;
  }

  async #campaign(lane: Lane, partitions: number): Promise<TrackAppender[]> {
    const tracks = Array.from({ length: partitions }, (_, partition) => trackOf(lane, partition));
    return await Promise.all(tracks.map((track) => this.#log.campaign(track)));
  }

  #stop(): void {
    const entries = this.#refreshed();
    this.#stopping.abort();
    if (!this.leads) return;
    this.#reign.abort();
    this.#lanes.standBy(this.#resource, entries);
  }
}

function trackGrant(
  lane: Lane,
  partition: number,
  { appender, from }: { appender: TrackAppender; from: number | undefined },
): TrackGrant {
  return { track: trackOf(lane, partition), term: appender.term, from, appender };
}

/**
 * Where a lane goes on: behind the end of each track's log, or where there is none (any more) behind what its leader
 * had published. A track whose log is of a history before has never been told how the present one begins.
 */
function resumed(lane: Lane, entry: LaneEntry, appenders: readonly TrackAppender[]): Omit<LaneGrant, 'signal'> {
  const epoch = Math.max(entry.epoch, ...appenders.map(({ head }) => head.epoch));
  const ends = appenders.map(({ head }) => (head.sequence === 0 ? entry : head));
  return {
    epoch,
    tracks: appenders.map((appender, partition) =>
      trackGrant(lane, partition, { appender, from: ends[partition]!.rv }),
    ),
    listing: ends.some((end) => end.epoch < epoch),
  };
}
