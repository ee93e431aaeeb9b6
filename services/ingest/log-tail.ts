import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { Deposed } from '@dogwatch/bus/nats-appender.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { Backoff } from './backoff.ts';
import type { IngestCounters } from './counters.ts';
import type { TrackAppender } from './reigns.ts';
import type { Ring } from './ring.ts';

/** A longer listing is only mentioned in the log: checkpoints of the shards hold its objects. */
const LISTING_BYTES_MAX = 8 * 1024 * 1024;
/** From here on an envelope waits for no more. */
const FULL_BYTES = 256 * 1024;

export interface LogTailOptions {
  readonly ring: Ring;
  readonly partition: number;
  readonly track: string;
  readonly appender: TrackAppender;
  /** Another leadership over the track, where the log was lost or would not store. Rejects with Deposed. */
  readonly renew: () => Promise<TrackAppender>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: IngestCounters;
  readonly random: () => number;
  /** Two appends are at least so far apart, in ms, unless much waits: each costs us and the server about 0.1 ms. */
  readonly gatherMs: number;
  /** The track goes on under this term. */
  readonly onTerm: (term: number) => void;
  /** Somebody else leads the track. */
  readonly onDeposed: () => void;
}

/**
 * Appends a track to the log behind the live path, which never waits for it: one envelope in flight, and what comes
 * meanwhile is gathered into the next. What waits is in the ring; what the ring has evicted by then is a hole in the
 * log, which the chain of positions shows to whoever reads it.
 */
export class LogTail {
  readonly #options: LogTailOptions;
  readonly #closing = new AbortController();
  readonly #backoff: Backoff;
  #appender: TrackAppender;
  #epoch = 0;
  /** Number of the next entry of the ring to be appended, and of the first that is not published yet. */
  #next = 0;
  #limit = 0;
  #listing: { readonly envelope: Envelope; readonly rv: ResourceVersion } | undefined;
  #end: Envelope | undefined;
  /** Version of the last change or watermark in the log, and of the last watermark or listing in it. */
  #reached: ResourceVersion;
  #vouched: ResourceVersion = 0;
  /** What it could be told to be complete to. */
  #owed: ResourceVersion = 0;
  #running = false;

  constructor(options: LogTailOptions) {
    this.#options = options;
    this.#appender = options.appender;
    this.#reached = options.appender.head.rv;
    this.#backoff = new Backoff(options.random);
  }

  /** Bytes published and not appended yet. */
  get backlogBytes(): number {
    return this.#options.ring.bytesBetween(this.#options.partition, this.#next, this.#limit);
  }

  /** Appends from this number of the ring on. */
  start(next: number): void {
    this.#next = this.#limit = next;
  }

  /** Everything in the ring below number `limit` was published. */
  wake(epoch: number, limit: number): void {
    this.#epoch = epoch;
    this.#limit = limit;
    this.#run();
  }

  /** Appends a listing; the ring continues it from number `next` on. */
  listing(envelope: Extract<Envelope, { kind: 'listing' }>, next: number): void {
    const { epoch, listing } = envelope;
    const bytes = listing.objects.reduce((sum, object) => sum + object.bytes.length, 0);
    const { rv } = listing;
    this.#listing = { envelope: bytes <= LISTING_BYTES_MAX ? envelope : { kind: 'listed', epoch, rv }, rv };
    this.#epoch = epoch;
    this.start(next);
    this.#run();
  }

  /** Appends that the lane has ended, behind all there is. */
  end(envelope: Envelope): void {
    this.#end = envelope;
    this.#run();
  }

  /** Everything up to `rv` was published: the log is told so if it does not know by the changes in it. */
  vouch(epoch: number, rv: ResourceVersion): void {
    this.#epoch = epoch;
    this.#owed = rv;
    this.#run();
  }

  /** Gives up what is not appended yet. */
  close(): void {
    this.#closing.abort();
    this.#appender.close();
  }

  #run(): void {
    if (this.#running || this.#closing.signal.aborted) return;
    this.#running = true;
    this.#appendAll().catch((error: unknown) => {
      if (!(error instanceof Deposed)) throw error;
      this.#options.log.warn({ track: this.#options.track, err: error }, 'the log of a track has another leader');
      this.#options.onDeposed();
    });
  }

  async #appendAll(): Promise<void> {
    const { clock, gatherMs } = this.#options;
    const { signal } = this.#closing;
    try {
      for (let envelope = this.#take(); envelope !== undefined && !signal.aborted; envelope = this.#take()) {
        const next = clock.now() + gatherMs;
        await this.#append(envelope, signal);
        // What is a whole envelope by now waits for nothing.
        const wait = this.backlogBytes < FULL_BYTES ? next - clock.now() : 0;
        if (wait > 0) await sleep(clock, wait, signal);
      }
    } finally {
      this.#running = false;
    }
  }

  async #append(envelope: Envelope, signal: AbortSignal): Promise<void> {
    const { log, track, counters } = this.#options;
    try {
      await this.#appender.append(envelope);
      counters.appends++;
      this.#backoff.reset();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Deposed) throw error;
      log.warn({ track, err: error }, 'the log of a track does not go on, taking the lead in it anew');
      await this.#renew(signal);
    }
  }

  /** The next envelope to be appended. It counts as done: if it fails the log is looked at for what it has. */
  #take(): Envelope | undefined {
    const { ring, partition, counters } = this.#options;
    const listing = this.#listing;
    if (listing !== undefined) {
      this.#listing = undefined;
      this.#reached = this.#vouched = listing.rv;
      return listing.envelope;
    }
    const first = Math.min(ring.first(partition), this.#limit);
    if (this.#next < first) {
      counters.holes++;
      this.#next = first;
    }
    if (this.#next < this.#limit) return this.#batch();
    const end = this.#end;
    this.#end = undefined;
    return end ?? (this.#owed > this.#reached ? this.#watermark(this.#owed) : undefined);
  }

  #batch(): Envelope {
    const { ring, partition } = this.#options;
    const { previous, position } = ring.at(partition, this.#next);
    const late = previous.rv === position.rv && previous.index === WHOLE_VERSION;
    // An event of a version that was vouched for already: the log has to know that it was.
    if (late && previous.rv > this.#vouched) return this.#watermark(previous.rv);
    const { batch, next } = ring.batch(partition, this.#next, this.#limit);
    this.#next = next;
    this.#reached = batch.changes.at(-1)!.object.rv;
    return { kind: 'batch', epoch: this.#epoch, batch };
  }

  #watermark(rv: ResourceVersion): Envelope {
    const { ring, partition } = this.#options;
    this.#reached = this.#vouched = rv;
    return { kind: 'watermark', epoch: this.#epoch, previous: ring.before(partition, this.#next), rv };
  }

  /** Campaigns until it leads the log again, and goes on where that ends. Throws Deposed. */
  async #renew(signal: AbortSignal): Promise<void> {
    const { ring, partition, renew, clock, log, track, onTerm } = this.#options;
    while (!signal.aborted) {
      await sleep(clock, this.#backoff.next(), signal);
      if (signal.aborted) return;
      try {
        this.#appender = await renew();
      } catch (error) {
        if (error instanceof Deposed) throw error;
        log.warn({ track, err: error }, 'the log of a track cannot be led yet');
        continue;
      }
      if (signal.aborted) return this.#appender.close();
      const { term, head } = this.#appender;
      onTerm(term);
      this.#reached = head.rv;
      this.#vouched = 0;
      const above = { rv: head.rv, index: WHOLE_VERSION };
      const next = head.sequence === 0 ? undefined : ring.after(partition, above);
      this.#next = Math.min(next ?? ring.first(partition), this.#limit);
      return;
    }
  }
}
