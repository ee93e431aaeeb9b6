import type { Interest } from '@dogwatch/checker/interest.ts';
import { isInitialEventsEnd, type RecordedStream, type WatchEvent } from '@dogwatch/checker/recorded.ts';
import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { type GroupVersionResource, groupVersionPath } from '@dogwatch/kube/group-resource.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Opened, ServerSide } from './sides.ts';
import { VerifyError } from './verify-error.ts';
import type { WatchFrames } from './watch-frames.ts';

/** Between one watch and the next, and after one that was refused. */
const PAUSE_MS = 50;
const REFUSED_PAUSE_MS = 1_000;
/** Of a version that cannot be gone on from: as an ERROR event, of which a client is then told, or as the status. */
export const EXPIRED = 410;

/** What all clients share. */
export interface WatchClients {
  readonly clock: Clock;
  readonly frames: WatchFrames;
  readonly resource: GroupVersionResource;
  /** No watch is opened when it has aborted. */
  readonly enough: AbortSignal;
  /** Ends the watches that are open. */
  readonly stop: AbortSignal;
  /** The number of the next stream. */
  readonly nextStream: () => number;
  /** Called with each event; it may abort `enough`. */
  readonly onEvent: () => void;
}

export interface WatchClientOptions {
  readonly name: string;
  readonly side: ServerSide;
  readonly interest: Interest;
  /** Where to begin; undefined: with initial events. */
  readonly resourceVersion: number | undefined;
  /** The server ends each watch after so long. */
  readonly timeoutSeconds: number;
}

interface Recording extends RecordedStream {
  readonly events: WatchEvent[];
  readonly times: number[];
  ended: string | undefined;
}

/** A client that watches, goes on where it was when a watch ends, and records what it is told. */
export class WatchClient {
  /** Those that were answered with 200, one after the other. */
  readonly streams: Recording[] = [];
  /** Requests that were refused or not answered, and why the last one was. */
  refused = 0;
  refusal: string | undefined;
  readonly #options: WatchClientOptions;
  readonly #shared: WatchClients;
  #position: number | undefined;

  constructor(options: WatchClientOptions, shared: WatchClients) {
    this.#options = options;
    this.#shared = shared;
    this.#position = options.resourceVersion;
  }

  /** Highest version seen after the initial events, bookmarks included; undefined before they have ended. */
  get position(): number | undefined {
    return this.#position;
  }

  /** Resolves when the signals say so. Rejects with VerifyError if it may not watch. */
  async run(): Promise<void> {
    const { enough, stop, clock } = this.#shared;
    const over = AbortSignal.any([enough, stop]);
    while (!over.aborted) {
      const opened = clock.now();
      const answer = await this.#open();
      if (answer === undefined) {
        this.refused += 1;
        await sleep(clock, REFUSED_PAUSE_MS, over);
        continue;
      }
      await this.#record(answer, opened);
      await sleep(clock, PAUSE_MS, over);
    }
  }

  /** Undefined if it is to be tried again. */
  async #open(): Promise<Opened | undefined> {
    const { side } = this.#options;
    const path = this.#path();
    const request = {
      index: 0,
      method: 'GET',
      path,
      headers: { accept: 'application/json' },
      body: undefined,
      asker: { kind: 'self' },
      protocol: 'h2',
      firstPage: undefined,
      stream: true,
      live: false,
    } as const;
    let opened: Opened;
    try {
      // A signal of its own: so many listeners on one would be taken for a leak.
      opened = await side.open(request, AbortSignal.any([this.#shared.stop]));
    } catch (error) {
      this.refusal = (error as Error).message;
      return undefined;
    }
    if (opened.status === 200) return opened;
    this.refusal = `it answered ${opened.status}`;
    // The body of a refusal is not read, so how it ends says nothing.
    opened.body.on('error', () => undefined);
    opened.cancel();
    if (opened.status === EXPIRED) this.#position = undefined;
    if (opened.status === EXPIRED || opened.status === 429 || opened.status >= 500) return undefined;
    throw new VerifyError('cannot_read', `${side.server.host} answered ${opened.status} to GET ${path}`);
  }

  #path(): string {
    const { interest, timeoutSeconds } = this.#options;
    const query = new URLSearchParams({
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: `${timeoutSeconds}`,
    });
    if (this.#position === undefined) {
      query.set('sendInitialEvents', 'true');
      query.set('resourceVersionMatch', 'NotOlderThan');
    }
    query.set('resourceVersion', `${this.#position ?? ''}`);
    if (interest.labelSelector !== undefined) query.set('labelSelector', interest.labelSelector);
    if (interest.fieldSelector !== undefined) query.set('fieldSelector', interest.fieldSelector);
    return `${collectionPath(this.#shared.resource, interest.namespace)}?${query.toString()}`;
  }

  async #record({ body }: Opened, opened: number): Promise<void> {
    const { name, interest } = this.#options;
    const { clock, frames, stop, resource, nextStream, onEvent } = this.#shared;
    const start = this.#position;
    const stream: Recording = {
      id: nextStream(),
      request: {
        ...interest,
        path: collectionPath(resource, interest.namespace),
        ...(start === undefined ? {} : { resourceVersion: start }),
      },
      events: [],
      times: [],
      ended: undefined,
      opened,
      client: name,
    };
    this.streams.push(stream);
    const scanner = createFrameScanner('json');
    await new Promise<void>((resolve) => {
      const end = (how: string): void => {
        if (!stop.aborted) stream.ended ??= how;
        resolve();
      };
      body.on('data', (chunk: Buffer) => {
        const now = clock.now();
        try {
          scanner.push(chunk, (frame) => {
            stream.events.push(frames.read(frame));
            stream.times.push(now);
            onEvent();
          });
        } catch (error) {
          end((error as Error).message);
          body.destroy();
        }
        this.#position = positionOf(stream.events, start);
      });
      body.once('end', () => end(scanner.pendingBytes > 0 ? 'ended within an event' : 'clean end'));
      body.on('error', ({ message }) => end(message));
      body.once('close', () => end('closed'));
    });
    // Expired: from the beginning.
    if (stream.events.some(({ type }) => type === 'ERROR')) this.#position = undefined;
  }
}

function collectionPath(resource: GroupVersionResource, namespace: string | undefined): string {
  const within = namespace === undefined ? '' : `/namespaces/${namespace}`;
  return `${groupVersionPath(resource)}${within}/${resource.resource}`;
}

function positionOf(events: readonly WatchEvent[], start: number | undefined): number | undefined {
  if (start === undefined && !events.some(isInitialEventsEnd)) return undefined;
  const last = events.at(-1);
  return last === undefined || last.type === 'ERROR' ? start : last.rv;
}
