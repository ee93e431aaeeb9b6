import { inScope, type Scope } from './simulated-selector.ts';
import {
  type Collection,
  eventFrame,
  type StoredObject,
  type StoreEvent,
  withResourceVersion,
} from './simulated-store.ts';
import { bookmarkFrame, type View, viewed } from './simulated-view.ts';

export interface WatchStart {
  readonly collection: Collection;
  readonly scope: Scope;
  readonly view: View;
  /** Objects to send as ADDED first, in key order. */
  readonly initial: readonly StoredObject[];
  /** Position of the first event to consider. */
  readonly position: number;
  /** Events at or below are not sent (W7: a version from the future hides what comes before it). */
  readonly after: number;
  /** The version of the bookmark that ends the initial events; undefined: none. */
  readonly endBookmark: number | undefined;
}

/**
 * One watch as a cursor over its collection's window. Pure: the shell asks for bytes when it can write them, so
 * nothing is queued per watch. A cursor the window has passed ends cleanly, without an error event (protocol W10).
 */
export class SimulatedWatch {
  readonly #start: WatchStart;
  #initial = 0;
  #position: number;
  #ended: boolean;
  #sentVersion: number;

  constructor(start: WatchStart) {
    this.#start = start;
    this.#position = start.position;
    this.#ended = start.endBookmark === undefined;
    this.#sentVersion = start.after;
  }

  /** True once every event so far has been given out. */
  get idle(): boolean {
    return this.#initial >= this.#start.initial.length && this.#ended && this.#position >= this.#start.collection.head;
  }

  /** Frames worth about `budget` bytes (at least one if there is any), or undefined if the window has overtaken the cursor. */
  take(budget: number): Buffer[] | undefined {
    const frames: Buffer[] = [];
    let bytes = 0;
    const add = (frame: Buffer) => {
      frames.push(frame);
      bytes += frame.length;
    };
    const { initial, collection, view, endBookmark } = this.#start;
    while (bytes < budget && this.#initial < initial.length) {
      const object = initial[this.#initial];
      this.#initial += 1;
      if (object !== undefined) add(eventFrame('ADDED', viewed(object.bytes, view)));
    }
    if (bytes < budget && !this.#ended && endBookmark !== undefined) {
      add(bookmarkFrame({ resource: collection.resource, view, version: endBookmark, end: true }));
      this.#ended = true;
    }
    while (bytes < budget && this.#position < collection.head) {
      const event = collection.at(this.#position);
      if (event === undefined) return undefined;
      this.#position += 1;
      const frame = this.#frame(event);
      if (frame !== undefined) add(frame);
    }
    return frames;
  }

  /** A bookmark at the collection's freshness, if everything up to it was given out and it is news (W13). */
  bookmark(): Buffer | undefined {
    const { collection, view } = this.#start;
    const version = collection.freshness;
    if (!this.idle || version <= this.#sentVersion) return undefined;
    this.#sentVersion = version;
    return bookmarkFrame({ resource: collection.resource, view, version, end: false });
  }

  /** The event as this watch sees it: entering and leaving the scope are ADDED and DELETED (W15). */
  #frame(event: StoreEvent): Buffer | undefined {
    const { scope, view, after } = this.#start;
    if (event.resourceVersion <= after) return undefined;
    const was = event.previous !== undefined && inScope(event.previous, scope);
    const is = event.type !== 'DELETED' && inScope(event.object, scope);
    if (!was && !is) return undefined;
    this.#sentVersion = event.resourceVersion;
    const type = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
    if (view === 'object' && type === event.type) return event.frame;
    if (is || event.previous === undefined) return eventFrame(type, viewed(event.object.bytes, view));
    return eventFrame(type, viewed(withResourceVersion(event.previous.bytes, event.resourceVersion), view));
  }
}
