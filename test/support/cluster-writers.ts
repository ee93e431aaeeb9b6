import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from './kube-client.ts';
import { lastFor, RandomWriter, type Written } from './random-writer.ts';
import type { RecordedStream } from './watch-recorder.ts';

export interface PacedWritersOptions {
  readonly client: KubeClient;
  readonly seed: number;
  readonly namespaces: readonly string[];
  readonly colours: readonly string[];
  readonly kind?: 'configmaps' | 'leases';
  /** Every namespace is written to so often; 0 as fast as upstream answers. */
  readonly everyMs: number;
}

/** One random writer per namespace, all at a steady pace until they are stopped. */
export class PacedWriters {
  readonly #options: PacedWritersOptions;
  readonly #writers: readonly RandomWriter[];
  #stop = new AbortController();
  #running: Promise<void>[] = [];
  #written = 0;

  constructor(options: PacedWritersOptions) {
    this.#options = options;
    this.#writers = options.namespaces.map((namespace, index) => {
      return new RandomWriter({ ...options, namespaces: [namespace], seed: options.seed + index });
    });
  }

  get written(): number {
    return this.#written;
  }

  /** Path of the whole collection. */
  get path(): string {
    return this.#writers[0]?.path ?? '';
  }

  pathIn(namespace: string): string {
    return this.#writers[0]?.pathIn(namespace) ?? '';
  }

  async createNamespaces(): Promise<void> {
    for (const writer of this.#writers) await writer.createNamespaces();
  }

  /** `count` writes in every namespace, unpaced. */
  async write(count: number): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.write(count)));
  }

  start(): void {
    this.#stop = new AbortController();
    this.#running = this.#writers.map((writer) => this.#run(writer, this.#stop.signal));
  }

  /** Rejects with what a writer met. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** A last word to every interest; see `lastOf`. */
  async touchAll(): Promise<Written[]> {
    return (await Promise.all(this.#writers.map((writer) => writer.touchAll()))).flat();
  }

  async #run(writer: RandomWriter, signal: AbortSignal): Promise<void> {
    const { everyMs } = this.#options;
    for (let due = performance.now(); !signal.aborted; due += everyMs) {
      await writer.write(1);
      this.#written += 1;
      // Behind by a lot: the pace is kept from now on, without a burst.
      if (performance.now() - due > 10 * everyMs) due = performance.now();
      else await sleep(Math.max(0, due + everyMs - performance.now()));
    }
  }
}

/** Where a stream is when it has seen the last word that concerns it. */
export function lastOf(written: readonly Written[]): (record: RecordedStream) => number {
  return ({ request }) => lastFor(request, written);
}
