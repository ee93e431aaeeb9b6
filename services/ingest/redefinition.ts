import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, notFound } from '@dogwatch/kube/status.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { Backoff } from './backoff.ts';
import { type Definition, definitionName, readDefinition } from './definition.ts';
import type { Definitions } from './definitions.ts';

/**
 * A kube-apiserver hears of a change a moment after us, perhaps, and goes on serving what was before for that moment;
 * the watches of it it ends a second later, and within 121 s even if requests linger.
 */
const TEARDOWN_MS = 125_000;

export interface RedefinitionOptions {
  readonly lane: Lane;
  readonly upstream: Upstream;
  readonly definitions: Definitions;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Life of the lane. */
  readonly signal: AbortSignal;
  /** Called once, when the resource is not what it was any more. */
  readonly onRedefined: () => void;
}

/**
 * Whether a lane of a custom resource still is what it was opened as. Upstream begins a new history of the resource
 * with each change of its definition's spec or accepted names: objects get other bytes at the versions they had, and
 * every watch ends (protocol row W19). What only its status says changes nothing.
 */
export class Redefinition {
  readonly #options: RedefinitionOptions;
  readonly #backoff: Backoff;
  #unfollow: (() => void) | undefined;
  #definition: Definition | 'unreadable' | undefined;
  #readAt = 0;
  #heardOf: ResourceVersion = 0;
  #checking = false;

  constructor(options: RedefinitionOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  /**
   * What the lane is opened as, which is followed from now on; undefined where dogwatch may not read it. Rejects with
   * StatusError: 404 where upstream does not serve it, 503.
   */
  async read(): Promise<Definition | undefined> {
    const { lane, definitions, upstream, signal, clock } = this.#options;
    this.#unfollow ??= definitions.follow(definitionName(lane), (rv) => this.#hear(rv));
    const found = await readDefinition(upstream, lane, signal);
    if (found === 'absent' || (found !== 'unreadable' && !found.served)) throw new StatusError(notFound(lane, ''));
    this.#definition = found;
    this.#readAt = clock.now();
    this.#hear(this.#heardOf);
    return found === 'unreadable' ? undefined : found;
  }

  /**
   * To be asked when upstream has cut a watch short, which it does where the resource was defined anew, but not only
   * there. False if it was, or might have been.
   */
  async stands(): Promise<boolean> {
    const before = this.#definition;
    const found = await this.#ask();
    if (before === undefined || before === 'unreadable' || typeof found === 'string') return false;
    return found.identity === before.identity && this.#options.clock.now() - this.#readAt > TEARDOWN_MS;
  }

  close(): void {
    this.#unfollow?.();
    this.#unfollow = undefined;
  }

  #hear(rv: ResourceVersion): void {
    this.#heardOf = Math.max(this.#heardOf, rv);
    const held = this.#definition;
    if (held === undefined || held === 'unreadable' || held.rv >= this.#heardOf || this.#checking) return;
    this.#checking = true;
    this.#check(held)
      .catch((error: unknown) => this.#options.log.debug({ err: error }, 'a definition was not checked'))
      .finally(() => (this.#checking = false));
  }

  async #check(held: Definition): Promise<void> {
    const { signal, onRedefined } = this.#options;
    while (!signal.aborted) {
      const found = await this.#ask();
      // It is deleted: the deletes of its objects are still under way, and behind them upstream ends the watch.
      if (signal.aborted || typeof found === 'string') return;
      if (found.identity !== held.identity) return onRedefined();
      this.#definition = found;
      if (found.rv >= this.#heardOf) return;
    }
  }

  /** Asks until there is an answer; 'absent' too once the lane is closed. */
  async #ask(): Promise<Definition | 'absent' | 'unreadable'> {
    const { lane, upstream, signal, clock, log } = this.#options;
    while (!signal.aborted) {
      try {
        const found = await readDefinition(upstream, lane, signal);
        this.#backoff.reset();
        return found;
      } catch (error) {
        if (signal.aborted) break;
        log.warn({ definition: definitionName(lane), err: error }, 'cannot read a definition, trying again');
      }
      await sleep(clock, this.#backoff.next(), signal);
    }
    return 'absent';
  }
}
