import { frameBookmark, frameStatusEvent } from '@dogwatch/kube/event-framer.ts';
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

  /** Sends a bookmark of its own where everything was sent and there is something to vouch for. */
  vouch(): void {
    const { view } = this.#lane;
    if (this.#blocked || this.#watcher?.atEnd !== true) return;
    // Of the watermark's own version, events may still be under way: the one before is held whole.
    const rv = view.cache.settled;
    const sent = this.#watcher.bookmark(this.#client, { rv, bytes: frameBookmark(view.bookmark, rv, false) });
    if (sent === 'blocked') this.#block();
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
      else if (reason !== 'overrun') this.vouch();
      this.#client.end();
    }
    this.#watcher = undefined;
  }
}
