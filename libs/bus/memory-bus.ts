import { type Bus, type LaneRequestKind, type LaneRequests, NoResponder } from './bus.ts';
import type { Envelope } from './envelope.ts';

type Handler = (request: never) => Promise<unknown>;

interface Server {
  readonly handler: Handler;
  readonly as: string | undefined;
}

/** The bus inside one process: delivery is a function call, so there is no queue to bound and nothing to lose. */
export class MemoryBus implements Bus {
  readonly #followers = new Map<string, Set<(envelope: Envelope) => void>>();
  readonly #servers = new Map<LaneRequestKind, Server[]>();

  publish(track: string, envelope: Envelope): void {
    const followers = this.#followers.get(track);
    if (followers === undefined) return;
    // A copy: who begins to follow while an envelope is delivered does not get this one.
    for (const onEnvelope of Array.from(followers)) if (followers.has(onEnvelope)) onEnvelope(envelope);
  }

  cease(): void {}

  follow(track: string, onEnvelope: (envelope: Envelope) => void): () => void {
    const followers = this.#followers.get(track) ?? new Set();
    this.#followers.set(track, followers);
    // A function of its own, so that one listener may follow twice.
    const deliver = (envelope: Envelope): void => onEnvelope(envelope);
    followers.add(deliver);
    return () => {
      followers.delete(deliver);
      if (followers.size === 0) this.#followers.delete(track);
    };
  }

  onReconnected(): () => void {
    return () => {};
  }

  async request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to?: string,
  ): Promise<LaneRequests[K]['reply']> {
    const servers = this.#servers.get(kind) ?? [];
    const server = to === undefined ? servers[0] : servers.find(({ as }) => as === to);
    if (server === undefined) throw new NoResponder(kind, to);
    return (await server.handler(request as never)) as LaneRequests[K]['reply'];
  }

  serve<K extends LaneRequestKind>(
    kind: K,
    handler: (request: LaneRequests[K]['request']) => Promise<LaneRequests[K]['reply']>,
    as?: string,
  ): () => void {
    const servers = this.#servers.get(kind) ?? [];
    if (servers.some((server) => server.as === as)) throw new Error(`"${kind}" requests are answered already`);
    const server = { handler: handler as Handler, as };
    this.#servers.set(kind, [...servers, server]);
    return () => {
      this.#servers.set(
        kind,
        (this.#servers.get(kind) ?? []).filter((it) => it !== server),
      );
    };
  }
}
