import { type Bus, type LaneRequestKind, type LaneRequests, NoResponder } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { Faults } from './faults.ts';
import { FaultyLink } from './faulty-link.ts';
import type { Random } from './random.ts';

interface Server {
  handle(kind: LaneRequestKind, request: unknown): Promise<unknown>;
}

/** Links of shards to those who follow them, and requests to shards: in order, but late, lost, or answered in vain. */
export class SimBus implements Bus {
  readonly #random: Random;
  readonly #chances: Faults;
  readonly #servers = new Map<string, Server>();
  readonly #followers = new Map<string, (envelope: Envelope) => void>();
  readonly #links = new Map<string, FaultyLink>();
  /** By server, in order. */
  readonly #requests = new Map<string, (() => void)[]>();
  readonly #answers: (() => void)[] = [];
  #faults = true;

  constructor(random: Random, faults: Faults) {
    this.#random = random;
    this.#chances = faults;
  }

  heal(): void {
    this.#faults = false;
    for (const link of this.#links.values()) link.heal();
  }

  /** `server` is a process of its own: what was asked of the one before it is lost. */
  begin(name: string, server: Server): void {
    for (const [track, link] of this.#links) if (track.split('/')[2] === name) link.cut();
    this.#servers.set(name, server);
  }

  /** Something happens; false if nothing is due. */
  step(): boolean {
    const waiting = [...this.#requests.values()].filter((requests) => requests.length > 0);
    const doings = [
      ...[...this.#links.values()].map((link) => () => link.step()),
      ...waiting.map((requests) => () => (requests.shift()!(), true)),
      ...this.#answers.map((answer) => () => (this.#answers.splice(this.#answers.indexOf(answer), 1), answer(), true)),
    ];
    while (doings.length > 0) if (doings.splice(this.#random.below(doings.length), 1)[0]!()) return true;
    return false;
  }

  publish(track: string, envelope: Envelope): void {
    let link = this.#links.get(track);
    if (link === undefined) {
      link = new FaultyLink({
        partitions: 1,
        random: this.#random,
        faults: this.#chances,
        deliver: (delivered) => this.#followers.get(track)?.(delivered),
      });
      if (!this.#faults) link.heal();
      this.#links.set(track, link);
    }
    link.publish(0, envelope);
  }

  cease(): void {}

  follow(track: string, onEnvelope: (envelope: Envelope) => void): () => void {
    this.#followers.set(track, onEnvelope);
    return () => {
      if (this.#followers.get(track) === onEnvelope) this.#followers.delete(track);
    };
  }

  onReconnected(): () => void {
    return () => {};
  }

  request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to = '',
  ): Promise<LaneRequests[K]['reply']> {
    const { promise, resolve, reject } = Promise.withResolvers<LaneRequests[K]['reply']>();
    const lost = (): boolean => this.#faults && this.#random.chance(this.#chances.lost);
    const requests = this.#requests.get(to) ?? [];
    this.#requests.set(to, requests);
    const server = this.#servers.get(to);
    requests.push(() => {
      if (lost()) return void this.#answers.push(() => reject(new Error('a request was lost')));
      if (server === undefined || this.#servers.get(to) !== server) return reject(new NoResponder(kind, to));
      const outcome = server.handle(kind, request);
      outcome.catch(() => undefined);
      const answer = lost() ? () => reject(new Error('an answer was lost')) : () => resolve(outcome as never);
      this.#answers.push(answer);
    });
    return promise;
  }

  serve(): () => void {
    throw new Error('the simulation serves by name');
  }
}
