import type { SimulatedResource } from './simulated-resources.ts';

/** What was asked of one resource, and sent of it. */
export interface ResourceCounts {
  /** LISTs of whole objects; of names and versions only (PartialObjectMetadataList). */
  lists: number;
  metadataLists: number;
  listBytes: number;
  /** Watches opened, those with initial events among them. */
  watches: number;
  watchLists: number;
  /** Objects sent as initial events, and events sent after them. */
  initialEvents: number;
  events: number;
  watchBytes: number;
  /** Watches ended because their client did not take what there was. */
  slowWatches: number;
}

/** The answer of `GET /simulated/counters`. */
export interface CountersReport {
  readonly resources: Readonly<Record<string, ResourceCounts>>;
  readonly writers: Readonly<Record<string, object>>;
}

/** Counts by resource since the start: what tests hold a claim like "no LIST was caused" against. */
export class SimulatedCounters {
  readonly #rows = new Map<string, ResourceCounts>();
  readonly #writers = new Map<string, () => object>();

  of({ group, resource }: Pick<SimulatedResource, 'group' | 'resource'>): ResourceCounts {
    const key = group === '' ? resource : `${resource}.${group}`;
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = {
        lists: 0,
        metadataLists: 0,
        listBytes: 0,
        watches: 0,
        watchLists: 0,
        initialEvents: 0,
        events: 0,
        watchBytes: 0,
        slowWatches: 0,
      };
      this.#rows.set(key, row);
    }
    return row;
  }

  /** Shows a writer's report beside the rows. */
  addWriter(name: string, report: () => object): void {
    this.#writers.set(name, report);
  }

  /** Rows by `resource.group` as kubectl names them, of every resource that was asked for. */
  toJSON(): CountersReport {
    const writers = [...this.#writers].map(([name, report]) => [name, report()] as const);
    return { resources: Object.fromEntries(this.#rows), writers: Object.fromEntries(writers) };
  }
}
