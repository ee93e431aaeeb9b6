import assert from 'node:assert';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type Control, ControlConflict, type ControlEntry, ControlUnavailable } from './control.ts';
import { Silence } from './silence.ts';

const RENEW_MS = 500;
const EXPIRE_MS = 2_000;
const RETRY_MS = 250;
const AGAIN_MS = 20;
/** A shorter break of the table leaves a holder the time to renew; a longer one begins the time anew. */
const GAP_OF_EXPIRY = 0.75;
/** Renewals that find our own entry in another version, before it is left to the next. */
const RENEWALS_MAX = 3;

/** Somebody else holds the lease now, or nobody does. */
export class LeaseLost extends Error {
  readonly code = 'LeaseLost';
  constructor(key: string) {
    super(`the lease ${key} is not held any more`);
  }
}

export interface LeaseOptions<T extends object> {
  readonly control: Control;
  readonly clock: Clock;
  readonly log: Log;
  readonly key: string;
  /** Name of this process. Another of the same name is taken for this one. */
  readonly holder: string;
  /** Default 500 ms. */
  readonly renewMs?: number;
  /** Silence after which others may take the lease. More than 1 s and three times `renewMs`. Default 2 s. */
  readonly expireMs?: number;
  /** What the entry is to say beside its holder: JSON, made of what it said before. Called for every put. */
  readonly content: (before: T | undefined) => T;
}

/** What became of putting our entry. `again`: it was not of the version we knew, but is still ours. */
type Outcome = 'put' | 'again' | 'lost' | ControlUnavailable;

/**
 * One entry of the control table, `{holder, ...content}`, that one process at a time keeps renewing. It decides who
 * works, not who may: while the table is away a holder stays holder, and whoever stood still holds it until it sees
 * its successor's entry. What must not be done twice needs a fence.
 */
export class Lease<T extends object> implements Service {
  readonly #options: LeaseOptions<T>;
  readonly #renewMs: number;
  readonly #expireMs: number;
  readonly #silence: Silence;
  readonly #lostListeners = new Set<() => void>();
  readonly #freeListeners = new Set<() => void>();
  #held = false;
  /** Of our last entry known to be in the table. */
  #version = 0;
  /** When the entry was last seen to change. */
  #heardAt: number;
  /** Puts of ours, one after the other. */
  #puts: Promise<unknown> = Promise.resolve();
  #acquiring: Promise<boolean> | undefined;
  #nap = new AbortController();

  constructor(options: LeaseOptions<T>) {
    const { clock, renewMs = RENEW_MS, expireMs = EXPIRE_MS } = options;
    assert(expireMs > 1_000 && expireMs > 3 * renewMs, 'a lease must outlive a renewal that is late');
    this.#options = options;
    this.#renewMs = renewMs;
    this.#expireMs = expireMs;
    this.#silence = new Silence(clock, expireMs * GAP_OF_EXPIRY);
    this.#heardAt = clock.now();
  }

  get held(): boolean {
    return this.#held;
  }

  /** Who holds it as far as is known; undefined if nobody does, it was released or it has expired. */
  get holder(): string | undefined {
    if (this.#held) return this.#options.holder;
    return this.#isExpired() ? undefined : holderOf(this.#seen()) || undefined;
  }

  /** What the entry last said beside its holder, whether or not somebody holds it. */
  get entry(): T | undefined {
    return contentOf<T>(this.#seen());
  }

  /**
   * Takes the lease if nobody holds it: there is no entry, it was released, it has expired, or it is our own from
   * before. Resolves with whether it is held now; false, too, if the table cannot be reached. Needs `run` to learn of
   * expiry.
   */
  acquire(): Promise<boolean> {
    this.#acquiring ??= this.#acquire().finally(() => {
      this.#acquiring = undefined;
    });
    return this.#acquiring;
  }

  /** Puts the entry now, because its content has changed. Throws LeaseLost, ControlUnavailable. */
  async renew(): Promise<void> {
    for (let attempt = 0; attempt < RENEWALS_MAX; attempt++) {
      const outcome = await this.#put();
      if (outcome === 'put') return;
      if (outcome === 'lost') break;
      if (outcome !== 'again') throw outcome;
    }
    throw new LeaseLost(this.#options.key);
  }

  /** Calls `listener` when a rival has taken the lease from us; returns how to stop. */
  onLost(listener: () => void): () => void {
    this.#lostListeners.add(listener);
    return () => this.#lostListeners.delete(listener);
  }

  /** Calls `listener` when and, every now and then, while the lease could be acquired; returns how to stop. */
  onFree(listener: () => void): () => void {
    this.#freeListeners.add(listener);
    return () => this.#freeListeners.delete(listener);
  }

  /** Renews the lease while it is held and looks out for its expiry while it is not; on abort releases it. */
  async run(signal: AbortSignal): Promise<void> {
    const { control, clock, key } = this.#options;
    const stopProofs = control.watch('', () => this.#silence.proved());
    const stopDisturbed = control.onDisturbed(() => this.#silence.disturbed());
    const stopWatching = control.watch(key, (changed, entry) => {
      if (changed === key) this.#onEntry(entry);
    });
    this.#heardAt = clock.now();
    const wake = (): void => this.#nap.abort();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        // What happens from here on must not be slept through.
        this.#nap = new AbortController();
        const waitMs = this.#held ? await this.#keep() : await this.#lookOut();
        if (!signal.aborted) await sleep(clock, waitMs, this.#nap.signal);
      }
      await this.#release();
    } finally {
      signal.removeEventListener('abort', wake);
      stopProofs();
      stopDisturbed();
      stopWatching();
    }
  }

  async #acquire(): Promise<boolean> {
    const { control, log, key } = this.#options;
    if (this.#held) return true;
    if (!this.#isFree()) return false;
    const before = this.#seen();
    try {
      const version = await control.put(key, this.#value(before), before?.version ?? 0);
      const now = this.#seen();
      // A rival's entry may have come before the answer to ours.
      if (now !== undefined && now.version > version && holderOf(now) !== this.#options.holder) return false;
      this.#version = Math.max(version, this.#version);
      this.#held = true;
    } catch (error) {
      if (!(error instanceof ControlConflict || error instanceof ControlUnavailable)) throw error;
      log.debug({ key, err: error }, 'a lease could not be acquired');
      return false;
    }
    log.info({ key }, 'a lease was acquired');
    this.#nap.abort();
    return true;
  }

  /** Renews; resolves with how long to wait, in milliseconds. */
  async #keep(): Promise<number> {
    const outcome = await this.#put();
    if (outcome === 'put') return this.#renewMs;
    if (outcome === 'lost') return 0;
    if (outcome === 'again') return AGAIN_MS;
    this.#options.log.debug({ key: this.#options.key, err: outcome }, 'a lease could not be renewed, trying again');
    return Math.min(RETRY_MS, this.#renewMs);
  }

  /** Tells that the lease is free, if it is; resolves with how long to wait, in milliseconds. */
  async #lookOut(): Promise<number> {
    const { control, key, log } = this.#options;
    if (this.#silence.sinceProofMs >= this.#renewMs) {
      try {
        await control.caughtUp();
        this.#silence.proved();
      } catch (error) {
        if (!(error instanceof ControlUnavailable)) throw error;
        log.debug({ key, err: error }, 'cannot judge a lease');
      }
    }
    if (!this.#held && this.#isFree()) for (const listener of Array.from(this.#freeListeners)) listener();
    const leftMs = this.#expireMs - this.#silence.of(this.#heardAt);
    return leftMs > 0 ? Math.min(leftMs, this.#renewMs) : this.#renewMs;
  }

  #onEntry(entry: ControlEntry | undefined): void {
    this.#heardAt = this.#options.clock.now();
    const holder = holderOf(entry);
    if (!this.#held) {
      // Not for an entry of our own: it is there because we tried, and may be tried again in time.
      if (holder === '') this.#nap.abort();
    } else if (holder === this.#options.holder) {
      this.#version = Math.max(this.#version, entry?.version ?? 0);
    } else if (entry !== undefined) {
      this.#lose();
    }
  }

  #put(): Promise<Outcome> {
    const outcome = this.#puts.then(() => this.#putNow());
    // A failure is for whoever asked for the put; the next one has its own.
    this.#puts = outcome.catch(() => {});
    return outcome;
  }

  /** One put of ours at a time: two under way at once would conflict. */
  async #putNow(): Promise<Outcome> {
    const { control, key } = this.#options;
    if (!this.#held) return 'lost';
    try {
      const version = await control.put(key, this.#value(this.#seen()), this.#version);
      this.#version = Math.max(version, this.#version);
      return this.#held ? 'put' : 'lost';
    } catch (error) {
      if (error instanceof ControlUnavailable) return error;
      if (!(error instanceof ControlConflict)) throw error;
    }
    // Perhaps one of ours was put without our being told.
    try {
      await control.caughtUp();
    } catch (error) {
      if (error instanceof ControlUnavailable) return error;
      throw error;
    }
    const entry = this.#seen();
    if (this.#held && entry !== undefined && holderOf(entry) !== this.#options.holder) this.#lose();
    this.#version = entry?.version ?? 0;
    return this.#held ? 'again' : 'lost';
  }

  /** Lets the next one take it at once. */
  async #release(): Promise<void> {
    const { control, key, holder, log } = this.#options;
    await this.#acquiring;
    await this.#puts;
    if (!this.#held) return;
    this.#held = false;
    try {
      try {
        await control.put(key, this.#value(this.#seen(), ''), this.#version);
      } catch (error) {
        if (!(error instanceof ControlConflict)) throw error;
        await control.caughtUp();
        const entry = this.#seen();
        if (holderOf(entry) === holder) await control.put(key, this.#value(entry, ''), entry?.version);
      }
    } catch (error) {
      if (!(error instanceof ControlConflict || error instanceof ControlUnavailable)) throw error;
      log.debug({ key, err: error }, 'a lease was not released: it expires');
    }
  }

  #lose(): void {
    const { key, log } = this.#options;
    this.#held = false;
    log.warn({ key, holder: holderOf(this.#seen()) }, 'a lease was lost to another');
    this.#nap.abort();
    for (const listener of Array.from(this.#lostListeners)) listener();
  }

  #isFree(): boolean {
    const holder = holderOf(this.#seen());
    return holder === '' || holder === this.#options.holder || this.#isExpired();
  }

  #isExpired(): boolean {
    return this.#silence.of(this.#heardAt) >= this.#expireMs;
  }

  #seen(): ControlEntry | undefined {
    const { control, key } = this.#options;
    return control.entry(key);
  }

  #value(before: ControlEntry | undefined, holder = this.#options.holder): object {
    return { ...this.#options.content(contentOf<T>(before)), holder };
  }
}

/** "" if there is no entry or it was released. */
function holderOf(entry: ControlEntry | undefined): string {
  const value = entry?.value;
  return typeof value === 'object' && value !== null && 'holder' in value ? String(value.holder) : '';
}

function contentOf<T extends object>(entry: ControlEntry | undefined): T | undefined {
  const value = entry?.value;
  if (typeof value !== 'object' || value === null) return undefined;
  const { holder: _, ...content } = value as T & { readonly holder?: string };
  return content as unknown as T;
}
