import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { WatchGroups } from '@dogwatch/watch/watch-groups.ts';
import { expectTrimmed } from './bounds.ts';
import { type SimClient, bookmarkAt } from './client.ts';

/** What watches are opened on. */
export interface Watched {
  readonly cache: WatchCache;
  onEnd(listener: (end: LaneEnd) => void): () => void;
}

/** The watches that are open on one view. */
export class OpenWatches {
  readonly clients = new Set<SimClient>();
  readonly #view: Watched;
  readonly #lagBytesMax: number;
  readonly #stopListening: () => void;
  #groups: { readonly cache: WatchCache; readonly groups: WatchGroups } | undefined;

  constructor(view: Watched, lagBytesMax: number) {
    this.#view = view;
    this.#lagBytesMax = lagBytesMax;
    this.#stopListening = view.onEnd((end) => {
      for (const client of this.clients) this.#release(client, end === 'expired');
    });
  }

  attach(client: SimClient): void {
    client.attach(this.#current());
    this.clients.add(client);
  }

  detach(client: SimClient): void {
    this.#release(client, false);
  }

  /** Lets a client take some writes; true if it took all there was. */
  pump(client: SimClient, writes: number): boolean {
    const result = client.pump(writes);
    if (result === 'overrun') this.#release(client, false);
    return result === 'drained';
  }

  bookmark(): void {
    const { cache, groups } = this.#current();
    groups.bookmark(cache.settled === cache.watermark, (rv) => bookmarkAt(rv));
  }

  trim(): void {
    if (this.#groups === undefined) return;
    this.#groups.groups.trim();
    expectTrimmed(this.#groups.groups);
  }

  close(): void {
    this.#stopListening();
    for (const client of this.clients) this.#release(client, false);
  }

  #current(): { readonly cache: WatchCache; readonly groups: WatchGroups } {
    const { cache } = this.#view;
    if (this.#groups?.cache !== cache) {
      this.#groups = { cache, groups: new WatchGroups(cache, { lagBytesMax: this.#lagBytesMax }) };
    }
    return this.#groups;
  }

  #release(client: SimClient, expired: boolean): void {
    this.clients.delete(client);
    client.detach();
    if (expired) client.expire();
  }
}
