import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { AppenderClosed, Deposed, type LogHead, StreamReplaced } from '@dogwatch/bus/nats-appender.ts';
import type { StreamFacts } from '@dogwatch/bus/nats-stream.ts';
import { type Position, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import type { TrackAppender } from './reigns.ts';
import type { ResourceLog } from './resource-reign.ts';

/** The log of a resource as JetStream keeps it, with its fences. Several ingests share one. */
export class TestLog implements ResourceLog {
  /** What is stored of each track. */
  readonly stored = new Map<string, Envelope[]>();
  /** Set to make nothing be stored until it resolves. */
  stalled: Promise<void> | undefined;
  readonly #terms = new Map<string, number>();
  #generation = 0;
  #lastTerm = 100;

  open(): Promise<StreamFacts> {
    return Promise.resolve({ created: String(this.#generation), firstSequence: 1, lastSequence: 1 });
  }

  campaign(track: string): Promise<TrackAppender> {
    const term = ++this.#lastTerm;
    this.#terms.set(track, term);
    const generation = this.#generation;
    const head = this.#head(track);
    let closed = false;
    const append = async (envelope: Envelope): Promise<number> => {
      await this.stalled;
      if (closed) throw new AppenderClosed(track);
      if (generation !== this.#generation) throw new StreamReplaced('test');
      if (this.#terms.get(track) !== term) throw new Deposed(track, term);
      const stored = this.stored.get(track) ?? [];
      this.stored.set(track, stored);
      return stored.push(envelope);
    };
    return Promise.resolve({ term, head, append, close: () => void (closed = true) });
  }

  /** The stream is made anew: everything is lost. */
  wipe(): void {
    this.stored.clear();
    this.#terms.clear();
    this.#generation++;
  }

  /** `kind version` of what is stored of a track. */
  told(track: string): string[] {
    return (this.stored.get(track) ?? []).map((envelope) => `${envelope.kind} ${endOf(envelope).rv}`);
  }

  #head(track: string): LogHead {
    const stored = this.stored.get(track) ?? [];
    const last = stored.at(-1);
    return { epoch: last?.epoch ?? 0, rv: last === undefined ? 0 : endOf(last).rv, sequence: stored.length };
  }
}

function endOf(envelope: Envelope): Position {
  switch (envelope.kind) {
    case 'listing':
      return { rv: envelope.listing.rv, index: WHOLE_VERSION };
    case 'batch':
      return { rv: envelope.batch.changes.at(-1)!.object.rv, index: 0 };
    case 'listed':
    case 'watermark':
      return { rv: envelope.rv, index: WHOLE_VERSION };
    case 'end':
      return { rv: 0, index: 0 };
  }
}
