import assert from 'node:assert/strict';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import type { ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { interest } from '@dogwatch/watch/test-objects.ts';
import { expectBounded } from './bounds.ts';
import { SimClient } from './client.ts';
import { type Faults, USUAL_FAULTS } from './faults.ts';
import { Follower, type SimNode } from './follower.ts';
import { History, Owed } from './history.ts';
import { SimIngest } from './ingest.ts';
import type { OpenWatches } from './open-watches.ts';
import { Peer } from './peer.ts';
import { Random } from './random.ts';
import { ScopedFollower } from './scoped-follower.ts';
import { Reader } from './reader.ts';
import { SimBus } from './sim-bus.ts';
import { SimFence } from './sim-fence.ts';
import { SimShard } from './sim-shard.ts';

export interface Scenario {
  readonly seed: number;
  readonly partitions: number;
  readonly steps: number;
  /** Many objects are deleted in one version now and then, and envelopes end within it. Of one partition only. */
  readonly expiry: boolean;
  /** Upstream cannot continue now and then, and peers forget; otherwise every client is sent exactly what it is owed. */
  readonly repairs: boolean;
  /** There are shards, and fan-out nodes that hold only what their clients want. Not with `expiry`. */
  readonly scopes: boolean;
  readonly limits: ReplicaLimits;
  /** Default: all, as often as usual. */
  readonly faults?: Faults;
}

const FOLLOWERS = 3;
const CLIENTS = 8;
const EVERYTHING = interest();
const INTERESTS = [
  EVERYTHING,
  EVERYTHING,
  interest({ namespace: 'default' }),
  interest({ namespace: 'kube-node-lease' }),
  interest({ labels: 'app=web' }),
  interest({ labels: '!app', namespace: 'prod' }),
  interest({ fields: 'spec.nodeName=n1' }),
  interest({ namespace: 'ci', name: 'o1', fields: 'metadata.name=o1' }),
];
/** Of clients that hop between whole copies and scopes. */
const SCOPED_INTERESTS = [
  interest({ fields: 'spec.nodeName=n1' }),
  interest({ fields: 'spec.nodeName=n2' }),
  interest({ namespace: 'prod', fields: 'spec.nodeName=n1' }),
  interest({ namespace: 'ci', name: 'o1', fields: 'metadata.name=o1' }),
  interest({ namespace: 'kube-node-lease', name: 'o2', fields: 'metadata.name=o2' }),
  interest({ fields: 'spec.nodeName=n1', labels: 'app=web' }),
];
const SHARDS = ['shard-0', 'shard-1'];
/** Rounds of a second each within which everybody must have caught up once nothing fails any more. */
const ROUNDS_MAX = 60;

const silent = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

/** What went on in a run, so that a test can tell that something did. */
export interface Report {
  readonly changes: number;
  readonly dropped: number;
  readonly listings: number;
  readonly answers: { readonly changes: number; readonly state: number; readonly delivered: number };
  readonly clients: SimClient['counts'];
  /** Reads that were proved fresh, and those that could not be. */
  readonly reads: Reader['counts'];
}

/**
 * The data path of the distributed form in one process: a history, an ingest that publishes it by partition, followers
 * behind links that lose, double and delay, a peer that fills their holes, and informers that go from one to another.
 * All chance comes from the seed.
 */
export class Simulation {
  readonly #scenario: Scenario;
  readonly #faults: Faults;
  readonly #random: Random;
  readonly #clock: FakeClock = createFakeClock();
  readonly #history = new History();
  readonly #ingest: SimIngest;
  readonly #peer: Peer;
  readonly #fence: SimFence;
  readonly #reader: Reader;
  readonly #followers: Follower[];
  readonly #bus: SimBus;
  readonly #shards: SimShard[] = [];
  readonly #scoped: ScopedFollower[] = [];
  #owners: readonly string[] = SHARDS;
  readonly #clients: readonly SimClient[];
  /** Version up to which a follower's cache was found true. */
  readonly #checked = new WeakMap<WatchCache, ResourceVersion>();
  #dropped = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    const { faults = USUAL_FAULTS, repairs } = scenario;
    this.#faults = repairs ? faults : { ...faults, forgets: 0, listings: 0 };
    const random = (this.#random = new Random(scenario.seed));
    const history = this.#history;
    for (let i = 0; i < 30; i++) history.step(random, false);
    this.#followers = [];
    this.#ingest = new SimIngest({
      history,
      partitions: scenario.partitions,
      random,
      publish: (partition, envelope) => {
        for (const { link } of [...this.#followers, ...this.#shards]) link.publish(partition, envelope);
      },
    });
    this.#peer = new Peer(this.#ingest, random, this.#faults);
    this.#fence = new SimFence({ ingest: this.#ingest, history, random, faults: this.#faults });
    this.#reader = new Reader(history);
    this.#bus = new SimBus(random, this.#faults);
    for (let i = 0; i < (scenario.scopes ? 1 : FOLLOWERS); i++) this.#followers.push(this.#newFollower());
    if (scenario.scopes) {
      for (const name of SHARDS) this.#shards.push(this.#newShard(name));
      for (const name of ['node-0', 'node-1']) this.#scoped.push(this.#newScoped(name));
    }
    const owed = (scenario.scopes ? SCOPED_INTERESTS : INTERESTS).map((of) => new Owed(history, of));
    this.#clients = Array.from(
      { length: CLIENTS },
      (_, i) =>
        new SimClient(`client ${i}`, {
          history,
          owed: owed[i % owed.length]!,
          exact: !scenario.repairs && !scenario.scopes,
        }),
    );
  }

  async run(): Promise<Report> {
    for (let step = 0; step < this.#scenario.steps; step++) await this.#step();
    await this.#settle();
    this.#finish();
    const clients = {
      events: 0,
      bookmarks: 0,
      lists: 0,
      resumes: 0,
      diffs: 0,
      conflations: 0,
      expired: 0,
      beside: 0,
    };
    for (const { counts } of this.#clients) {
      for (const count of Object.keys(clients) as (keyof typeof clients)[]) clients[count] += counts[count];
    }
    for (const follower of this.#followers) this.#close(follower);
    for (const node of [...this.#shards, ...this.#scoped]) node.close();
    return {
      changes: this.#history.changes.length,
      dropped: this.#dropped,
      listings: this.#ingest.listings,
      answers: this.#peer.given,
      clients,
      reads: this.#reader.counts,
    };
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const { expiry } = this.#scenario;
    const { hops, followerRestarts, listings } = this.#faults;
    const follower = random.pick(this.#followers);
    const client = random.pick(this.#clients);
    const actions: readonly [number, () => void | Promise<void>][] = [
      [20, () => this.#history.step(random, expiry && random.chance(0.1))],
      [15, () => this.#ingest.advance(1 + random.below(6))],
      [3, () => this.#ingest.watermark()],
      [60, () => this.#times(() => follower.link.step())],
      [20, () => this.#pump(client)],
      [hops, () => this.#move(client)],
      [8, () => this.#eachOf(random.pick(this.#nodes), (watches) => watches.bookmark())],
      [4, () => this.#eachOf(random.pick(this.#nodes), (watches) => watches.trim())],
      [12, () => this.#times(() => this.#peer.step())],
      [8, () => this.#clock.advanceAsync(random.below(300))],
      [3, () => this.#reader.read(follower.replica)],
      [9, () => this.#times(() => this.#fence.step())],
      [followerRestarts, () => this.#restart(follower)],
      [listings, () => this.#ingest.list(random.chance(0.2))],
      ...(this.#scenario.scopes ? this.#scopedActions() : []),
    ];
    let at = random.next() * actions.reduce((total, [weight]) => total + weight, 0);
    const [, action] = actions.find(([weight]) => (at -= weight) < 0)!;
    await action();
    await this.#clock.advanceAsync(0);
    for (const { replica } of this.#followers) if (replica.ready) this.#expectTruth(replica.cache);
    for (const scoped of this.#scoped) scoped.expectTruth();
    this.#reader.expectNothingStale();
  }

  #scopedActions(): [number, () => void][] {
    const random = this.#random;
    const { releases, moves, shardRestarts, nodeRestarts } = this.#faults;
    return [
      [40, () => this.#times(() => random.pick(this.#shards).link.step())],
      [120, () => this.#times(() => this.#bus.step())],
      [15, () => random.pick(this.#shards).mark()],
      [releases, () => random.pick(this.#scoped).release(random)],
      [moves, () => (this.#owners = random.chance(0.5) ? SHARDS.toReversed() : [random.pick(SHARDS)])],
      [shardRestarts, () => this.#restartShard(random.below(this.#shards.length))],
      [nodeRestarts, () => this.#restartScoped(random.below(this.#scoped.length))],
    ];
  }

  #restartShard(at: number): void {
    this.#shards[at]!.close();
    this.#shards[at] = this.#newShard(this.#shards[at]!.name);
  }

  #restartScoped(at: number): void {
    this.#scoped[at]!.close();
    this.#scoped[at] = this.#newScoped(`node-${at}`);
  }

  /** What a follower holds is what there was at its watermark, wherever that is known to be whole. */
  #expectTruth(cache: WatchCache): void {
    expectBounded(cache, this.#scenario.limits);
    if (cache.settled !== cache.watermark || this.#checked.get(cache) === cache.settled) return;
    this.#checked.set(cache, cache.settled);
    const held = [...cache.snapshot().range()].map(({ key, rv, uid }) => `${key}@${rv} ${uid}`);
    assert.deepEqual(held.toSorted(), this.#history.selectedAt(cache.settled, EVERYTHING), `at ${cache.settled}`);
  }

  /** Nothing fails any more: everybody must get to the end of the history by itself. */
  async #settle(): Promise<void> {
    this.#peer.heal();
    for (const { link } of [...this.#followers, ...this.#shards]) link.heal();
    this.#bus.heal();
    this.#owners = SHARDS;
    this.#ingest.advance(Number.POSITIVE_INFINITY);
    const behind = (): string[] =>
      [...this.#followers.entries()].flatMap(([at, { replica }]) => {
        const held = replica.ready ? replica.cache.settled : 0;
        return held < this.#history.rv ? [`follower ${at} is at ${held} of ${this.#history.rv}`] : [];
      });
    const behindScopes = (): string[] =>
      this.#scoped.flatMap((scoped) =>
        [...scoped.views].flatMap((view) => {
          const held = view.ready ? view.cache.watermark : 0;
          return held < this.#history.rv ? [`${view.key} is at ${held} of ${this.#history.rv}`] : [];
        }),
      );
    const late = (): string[] => [...behind(), ...behindScopes()];
    for (let round = 0; round < ROUNDS_MAX && (round === 0 || late().length > 0); round++) {
      // Each second something shows what was lost last.
      this.#history.pass();
      this.#ingest.watermark();
      for (let quiet = false; !quiet;) {
        const moved = [...this.#followers, ...this.#shards].map(({ link }) => link.step());
        this.#fence.step();
        quiet = !this.#peer.step() && !this.#bus.step() && !moved.includes(true);
        await this.#clock.advanceAsync(0);
        if (quiet) for (const shard of this.#shards) shard.mark();
        quiet &&= !this.#bus.step();
      }
      await this.#clock.advanceAsync(1_000);
    }
    assert.deepEqual(late(), [], 'who did not catch up');
  }

  #finish(): void {
    const { rv } = this.#history;
    for (const { replica } of this.#followers) this.#expectTruth(replica.cache);
    for (const scoped of this.#scoped) scoped.expectTruth();
    for (const client of this.#clients) {
      // Whoever is overrun, or was away, resumes by the version it holds.
      for (let tries = 0; tries < 3; tries++) {
        if (!client.attached) this.#random.pick(this.#followers).watchesFor()!.attach(client);
        const watches = this.#watchesOf(client)!;
        watches.bookmark();
        if (watches.pump(client, Number.POSITIVE_INFINITY)) break;
      }
      assert.equal(client.vouched, rv, `${client.name} was told of everything`);
      client.expectStateOf(rv);
    }
  }

  get #nodes(): readonly SimNode[] {
    return [...this.#followers, ...this.#scoped];
  }

  #eachOf(node: SimNode, act: (watches: OpenWatches) => void): void {
    for (const watches of node.watches) act(watches);
  }

  #watchesOf(client: SimClient): OpenWatches | undefined {
    return this.#nodes.flatMap((node) => [...node.watches]).find(({ clients }) => clients.has(client));
  }

  /** What there is one of for each partition is done more often the more there are. */
  #times(action: () => void): void {
    for (let count = this.#random.below(this.#scenario.partitions * 2) + 1; count > 0; count--) action();
  }

  /** One in three reads so slowly that not every change can be kept for it. */
  #pump(client: SimClient): void {
    if (!this.#isSlow(client)) this.#watchesOf(client)?.pump(client, 1 + this.#random.below(3));
  }

  #isSlow(client: SimClient): boolean {
    return this.#clients.indexOf(client) % 3 === 0 && this.#random.chance(this.#faults.slow);
  }

  /** The client's connection is cut; now or later it comes back somewhere. */
  #move(client: SimClient): void {
    if (this.#isSlow(client)) return;
    this.#watchesOf(client)?.detach(client);
    const to = this.#random.pick(this.#nodes).watchesFor(client);
    if (to !== undefined && this.#random.chance(0.9)) to.attach(client);
  }

  #restart(follower: Follower): void {
    this.#close(follower);
    this.#followers[this.#followers.indexOf(follower)] = this.#newFollower();
  }

  #close(follower: Follower): void {
    this.#dropped += follower.link.dropped;
    follower.close();
  }

  #newFollower(): Follower {
    return new Follower({ ...this.#common, ingest: this.#ingest, peer: this.#peer, bus: this.#fence.bus });
  }

  #newShard(name: string): SimShard {
    return new SimShard({ ...this.#common, name, bus: this.#bus, peer: this.#peer });
  }

  #newScoped(name: string): ScopedFollower {
    return new ScopedFollower({
      ...this.#common,
      name,
      bus: this.#bus,
      ingest: this.#ingest,
      history: this.#history,
      ownersOf: () => this.#owners,
    });
  }

  get #common() {
    const { partitions, expiry, limits } = this.#scenario;
    const resource = expiry ? 'events' : 'pods';
    const lane: Lane = { group: '', version: 'v1', resource, encoding: 'json', view: 'object' };
    return { lane, partitions, limits, random: this.#random, faults: this.#faults, clock: this.#clock, log: silent };
  }
}
