import assert from 'node:assert/strict';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import type { ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { interest } from '@dogwatch/watch/test-objects.ts';
import { SimClient } from './client.ts';
import { Follower } from './follower.ts';
import { History, Owed } from './history.ts';
import { SimIngest } from './ingest.ts';
import { Peer } from './peer.ts';
import { Random } from './random.ts';

export interface Scenario {
  readonly seed: number;
  readonly partitions: number;
  readonly steps: number;
  /** Many objects are deleted in one version now and then, and envelopes end within it. Of one partition only. */
  readonly expiry: boolean;
  /** Upstream cannot continue now and then, and peers forget; otherwise every client is sent exactly what it is owed. */
  readonly repairs: boolean;
  readonly limits: ReplicaLimits;
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
}

/**
 * The data path of the distributed form in one process: a history, an ingest that publishes it by partition, followers
 * behind links that lose, double and delay, a peer that fills their holes, and informers that go from one to another.
 * All chance comes from the seed.
 */
export class Simulation {
  readonly #scenario: Scenario;
  readonly #random: Random;
  readonly #clock: FakeClock = createFakeClock();
  readonly #history = new History();
  readonly #ingest: SimIngest;
  readonly #peer: Peer;
  readonly #followers: Follower[];
  readonly #clients: readonly SimClient[];
  /** Version up to which a follower's cache was found true. */
  readonly #checked = new WeakMap<WatchCache, ResourceVersion>();
  #dropped = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    const random = (this.#random = new Random(scenario.seed));
    const history = this.#history;
    for (let i = 0; i < 30; i++) history.step(random, false);
    this.#followers = [];
    this.#ingest = new SimIngest({
      history,
      partitions: scenario.partitions,
      random,
      publish: (partition, envelope) => {
        for (const { link } of this.#followers) link.publish(partition, envelope);
      },
    });
    this.#peer = new Peer(this.#ingest, random, scenario.repairs);
    for (let i = 0; i < FOLLOWERS; i++) this.#followers.push(this.#newFollower());
    const owed = INTERESTS.map((of) => new Owed(history, of));
    this.#clients = Array.from(
      { length: CLIENTS },
      (_, i) => new SimClient(`client ${i}`, { history, owed: owed[i % owed.length]!, exact: !scenario.repairs }),
    );
  }

  async run(): Promise<Report> {
    for (let step = 0; step < this.#scenario.steps; step++) await this.#step();
    await this.#settle();
    this.#finish();
    const clients = { events: 0, bookmarks: 0, lists: 0, resumes: 0, expired: 0, beside: 0 };
    for (const { counts } of this.#clients) {
      for (const count of Object.keys(clients) as (keyof typeof clients)[]) clients[count] += counts[count];
    }
    for (const follower of this.#followers) this.#close(follower);
    return {
      changes: this.#history.changes.length,
      dropped: this.#dropped,
      listings: this.#ingest.listings,
      answers: this.#peer.given,
      clients,
    };
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const { expiry, repairs } = this.#scenario;
    const follower = random.pick(this.#followers);
    const client = random.pick(this.#clients);
    const actions: readonly [number, () => void | Promise<void>][] = [
      [20, () => this.#history.step(random, expiry && random.chance(0.1))],
      [15, () => this.#ingest.advance(1 + random.below(6))],
      [3, () => this.#ingest.watermark()],
      [60, () => this.#times(() => follower.link.step())],
      [20, () => this.#pump(client, 1 + random.below(3))],
      [6, () => this.#move(client)],
      [8, () => follower.bookmark()],
      [2, () => follower.trim()],
      [12, () => this.#times(() => this.#peer.step())],
      [8, () => this.#clock.advanceAsync(random.below(300))],
      [0.2, () => this.#restart(follower)],
      [repairs ? 0.3 : 0, () => this.#ingest.list(random.chance(0.2))],
    ];
    let at = random.next() * actions.reduce((total, [weight]) => total + weight, 0);
    const [, action] = actions.find(([weight]) => (at -= weight) < 0)!;
    await action();
    await this.#clock.advanceAsync(0);
    for (const { replica } of this.#followers) if (replica.ready) this.#expectTruth(replica.cache);
  }

  /** What a follower holds is what there was at its watermark, wherever that is known to be whole. */
  #expectTruth(cache: WatchCache): void {
    if (cache.settled !== cache.watermark || this.#checked.get(cache) === cache.settled) return;
    this.#checked.set(cache, cache.settled);
    const held = [...cache.snapshot().range()].map(({ key, rv, uid }) => `${key}@${rv} ${uid}`);
    assert.deepEqual(held.toSorted(), this.#history.selectedAt(cache.settled, EVERYTHING), `at ${cache.settled}`);
  }

  /** Nothing fails any more: everybody must get to the end of the history by itself. */
  async #settle(): Promise<void> {
    this.#peer.heal();
    for (const { link } of this.#followers) link.heal();
    this.#ingest.advance(Number.POSITIVE_INFINITY);
    const behind = (): string[] =>
      [...this.#followers.entries()].flatMap(([at, { replica }]) => {
        const held = replica.ready ? replica.cache.settled : 0;
        return held < this.#history.rv ? [`follower ${at} is at ${held} of ${this.#history.rv}`] : [];
      });
    for (let round = 0; round < ROUNDS_MAX && (round === 0 || behind().length > 0); round++) {
      // Each second something shows what was lost last.
      this.#history.pass();
      this.#ingest.watermark();
      for (let quiet = false; !quiet;) {
        const moved = this.#followers.map(({ link }) => link.step());
        quiet = !this.#peer.step() && !moved.includes(true);
        await this.#clock.advanceAsync(0);
      }
      await this.#clock.advanceAsync(1_000);
    }
    assert.deepEqual(behind(), [], 'who did not catch up');
  }

  #finish(): void {
    const { rv } = this.#history;
    for (const { replica } of this.#followers) this.#expectTruth(replica.cache);
    for (const client of this.#clients) {
      // Whoever is overrun, or was away, resumes by the version it holds.
      for (let tries = 0; tries < 3; tries++) {
        if (!client.attached) this.#random.pick(this.#followers).attach(client);
        const follower = this.#followerOf(client)!;
        follower.bookmark();
        if (follower.pump(client, Number.POSITIVE_INFINITY)) break;
      }
      assert.equal(client.vouched, rv, `${client.name} was told of everything`);
      client.expectStateOf(rv);
    }
  }

  #followerOf(client: SimClient): Follower | undefined {
    return this.#followers.find(({ clients }) => clients.has(client));
  }

  /** What there is one of for each partition is done more often the more there are. */
  #times(action: () => void): void {
    for (let count = this.#random.below(this.#scenario.partitions * 2) + 1; count > 0; count--) action();
  }

  #pump(client: SimClient, writes: number): void {
    this.#followerOf(client)?.pump(client, writes);
  }

  /** The client's connection is cut; now or later it comes back somewhere. */
  #move(client: SimClient): void {
    this.#followerOf(client)?.detach(client);
    const to = this.#random.pick(this.#followers);
    if (to.ready && this.#random.chance(0.9)) to.attach(client);
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
    const { partitions, expiry, limits } = this.#scenario;
    const lane: Lane = {
      group: '',
      version: 'v1',
      resource: expiry ? 'events' : 'pods',
      encoding: 'json',
      view: 'object',
    };
    return new Follower({
      lane,
      partitions,
      limits,
      ingest: this.#ingest,
      peer: this.#peer,
      random: this.#random,
      clock: this.#clock,
      log: silent,
    });
  }
}
