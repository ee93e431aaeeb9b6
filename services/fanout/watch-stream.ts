import { frameBookmark, frameStatusEvent } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { StatusBody } from '@dogwatch/kube/status.ts';
import type { Watcher, WatcherOwner } from '@dogwatch/watch/watcher.ts';
import type { ClientStream } from './exchange.ts';
import type { LaneWatches } from './lane-watches.ts';

/** Why a watch ended, as counted. */
export type WatchEndReason =
  | 'client-gone'
  | 'timeout'
  | 'overrun'
  | 'stalled'
  | 'expired'
  | 'lane-ended'
  | 'rights-withdrawn'
  | 'draining';

/** One open watch: a watcher's frames on their way into one client's stream. */
export class WatchStream implements WatcherOwner {
  readonly #lane: LaneWatches;
  readonly #client: ClientStream;
  #watcher: Watcher | undefined;
  #queued = false;
  #blocked = false;
  /** It is to have a bookmark of its own as soon as there is something to vouch for. */
  #bookmarkDue = false;
  /** Seconds since the socket took something, while there is more to send. */
  stalledSeconds = 0;

  constructor(lane: LaneWatches, client: ClientStream) {
    this.#lane = lane;
    this.#client = client;
    client.listen({
      onDrain: () => {
        this.#blocked = false;
        this.stalledSeconds = 0;
        this.#lane.blocked.delete(this);
        this.wake();
      },
      onClose: () => this.#lane.close(this, 'client-gone'),
    });
  }

  get watcher(): Watcher | undefined {
    return this.#watcher;
  }

  get open(): boolean {
    return this.#watcher !== undefined;
  }

  begin(watcher: Watcher): void {
    this.#watcher = watcher;
    this.wake();
  }

  /** There is something to send: it goes out with everything else of this turn of the event loop. */
  wake(): void {
    if (this.#queued || this.#blocked || this.#watcher === undefined) return;
    this.#queued = true;
    this.#lane.pumps.add(this);
  }

  conflated(): void {
    this.#lane.pumps.conflations++;
  }

  /** Called by the pump once a turn. */
  pump(): void {
    this.#queued = false;
    const watcher = this.#watcher;
    if (watcher === undefined || this.#blocked) return;
    // What came since may be what proves the version before it whole.
    if (this.#bookmarkDue && this.#vouch(this.#lane.view.cache.settled) === 'blocked') return;
    const before = watcher.frames;
    const result = watcher.pump(this.#client);
    this.#lane.pumps.delivered += watcher.frames - before;
    switch (result) {
      case 'blocked':
        this.#block();
        break;
      case 'overrun':
        this.#lane.close(this, 'overrun');
        break;
      case 'drained':
        break;
    }
  }

  /**
   * Sends a bookmark of its own, now or with the next change that leaves something to vouch for; false: not yet. `now`
   * is monotonic, in ms.
   */
  bookmark(now: number): boolean {
    this.#bookmarkDue = true;
    if (!this.#blocked) this.#vouch(this.#lane.wholeAt(now));
    return !this.#bookmarkDue;
  }

  /** `whole`: up to here the lane is held whole. */
  #vouch(whole: ResourceVersion): 'sent' | 'blocked' | 'not-due' {
    const { view } = this.#lane;
    const watcher = this.#watcher!;
    const rv = watcher.completeTo(whole);
    if (!watcher.vouchesFor(rv)) return 'not-due';
    const sent = watcher.bookmark(this.#client, { rv, bytes: frameBookmark(view.bookmark, rv, false) });
    this.#bookmarkDue = false;
    if (sent === 'blocked') this.#block();
    return sent;
  }

  #block(): void {
    this.#blocked = true;
    this.#lane.blocked.add(this);
  }

  /** Ends the client's stream; `status` goes out as an ERROR event first. To be called by LaneWatches.close only. */
  finish(reason: WatchEndReason, status?: StatusBody): void {
    if (reason === 'stalled') {
      this.#client.abort();
    } else if (reason !== 'client-gone') {
      if (status !== undefined) this.#client.write(frameStatusEvent(this.#lane.view.lane.encoding, status));
      else if (reason !== 'overrun' && !this.#blocked) this.#vouch(this.#lane.view.cache.settled);
      this.#client.end();
    }
    this.#watcher = undefined;
  }
}
