import { minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { LaneEnd, LaneFacts, LaneView } from '@dogwatch/watch/lane-view.ts';
import { podSchema } from '@dogwatch/watch/test-objects.ts';
import { type Change, WatchCache, type WatchCacheOptions } from '@dogwatch/watch/watch-cache.ts';

export const PODS: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };

/** A lane by hand: the test says what it reads, and when it is proved fresh. */
export class TestLaneView implements LaneView {
  readonly key = 'test';
  readonly lane = PODS;
  readonly facts: LaneFacts = {
    schema: podSchema,
    kind: 'Pod',
    apiVersion: 'v1',
    listKind: 'PodList',
    layout: 'typed',
    bookmark: undefined,
    warnings: ['299 - "old"'],
  };
  readonly bookmark = minimalBookmark('json', 'Pod', 'v1');
  cache: WatchCache;
  appliedAt = 0;
  /** Ms; 0 of those it does not have. */
  readonly ages = new Map<number, number>();
  /** Times the lane was given back. */
  released = 0;
  /** Versions backfills were asked for. */
  readonly backfills: number[] = [];
  backfill = (rv: number): Promise<boolean> => {
    this.backfills.push(rv);
    return Promise.resolve(false);
  };
  /** The version the lane is proved fresh at, once it is. */
  proof: Promise<number>;
  readonly #listeners = new Set<(end: LaneEnd) => void>();
  #timedOut = false;
  readonly #waiting: { rv: number; resolve: (reached: boolean) => void }[] = [];

  constructor(rv = 10, objects: readonly KubeObject[] = [], limits: Partial<WatchCacheOptions> = {}) {
    const options = { windowBytesMax: 1_000_000, tombstoneBytesMax: 1_000_000, stateDiff: true, ...limits };
    this.cache = new WatchCache(podSchema, { rv, objects }, options);
    this.proof = Promise.resolve(rv);
  }

  /** As a LaneSource gives it. */
  acquired(): { view: TestLaneView; release: () => void } {
    return { view: this, release: () => void this.released++ };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  change(...changes: readonly Change[]): void {
    this.cache.apply({ previous: this.cache.position, changes });
    for (const { rv, resolve } of this.#waiting) if (this.cache.watermark >= rv) resolve(true);
  }

  async fresh<T>(_timeoutMs: number, use: (rv: number, whole: boolean) => T): Promise<T> {
    return use(await this.proof, true);
  }

  ageOf(rv: number): number {
    return this.ages.get(rv) ?? 0;
  }

  reached(rv: number, _timeoutMs: number): Promise<boolean> {
    if (this.cache.watermark >= rv) return Promise.resolve(true);
    if (this.#timedOut) return Promise.resolve(false);
    return new Promise((resolve) => this.#waiting.push({ rv, resolve }));
  }

  /** Those who wait for a version, from now on too, wait in vain. */
  timeOut(): void {
    this.#timedOut = true;
    for (const { resolve } of this.#waiting) resolve(false);
  }

  onEnd(listener: (end: LaneEnd) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  end(end: LaneEnd): void {
    for (const listener of this.#listeners) listener(end);
  }
}
