import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { contentType } from '@dogwatch/kube/content-negotiation.ts';
import type { Collection } from './simulated-collection.ts';
import type { SimulatedCounters } from './simulated-counters.ts';
import type { ListOptions } from './simulated-request.ts';
import { errorFrame, StatusError } from './simulated-status.ts';
import { SimulatedStream } from './simulated-stream.ts';
import type { SimulatedValve } from './simulated-valve.ts';
import type { Wire } from './simulated-view.ts';
import type { SimulatedWatch } from './simulated-watch.ts';

export interface WatchRequest {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly collection: Collection;
  readonly options: ListOptions;
  readonly wire: Wire;
  readonly start: Promise<SimulatedWatch>;
}

/** The watches open on a server. */
export class SimulatedWatches {
  readonly #streams = new Map<SimulatedStream, Collection>();
  readonly #counters: SimulatedCounters;
  readonly #valve: SimulatedValve;

  constructor(counters: SimulatedCounters, valve: SimulatedValve) {
    this.#counters = counters;
    this.#valve = valve;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Open watches by collection. */
  byCollection(): ReadonlyMap<Collection, number> {
    const open = new Map<Collection, number>();
    for (const collection of this.#streams.values()) open.set(collection, (open.get(collection) ?? 0) + 1);
    return open;
  }

  /** Those of one resource, or all. */
  streams(resource?: string): SimulatedStream[] {
    const found: SimulatedStream[] = [];
    for (const [stream, collection] of this.#streams) {
      if (resource === undefined || collection.resource.resource === resource) found.push(stream);
    }
    return found;
  }

  /** Serves one: HTTP 200 at once (protocol F7), what goes wrong from then on inside the stream (W8). */
  async serve({ request, response, collection, options, wire, start }: WatchRequest): Promise<void> {
    const counts = this.#counters.of(collection.resource);
    counts.watches += 1;
    if (options.initialEvents) counts.watchLists += 1;
    response.writeHead(200, { 'content-type': contentType(wire.encoding, true) });
    (response as { flushHeaders?: () => void }).flushHeaders?.();
    let watch: SimulatedWatch;
    try {
      watch = await start;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      response.end(errorFrame(error, wire.encoding));
      return;
    }
    if (request.destroyed || response.destroyed) return;
    const ended = () => {
      stop();
      stream.close();
      this.#streams.delete(stream);
    };
    const stop = collection.onEvent(() => stream.wake());
    const { bookmarks, timeoutSeconds } = options;
    const sink = {
      write: (bytes: Buffer) => response.write(bytes),
      end: () => void response.end(),
      once: response.once.bind(response),
    };
    const stream: SimulatedStream = new SimulatedStream({
      watch,
      wire,
      sink,
      bookmarks,
      timeoutSeconds,
      counts,
      valve: this.#valve,
      onEnd: () => ended(),
    });
    this.#streams.set(stream, collection);
    response.on('close', ended);
  }
}
