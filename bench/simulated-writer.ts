import type { Collection } from './simulated-collection.ts';
import { FleetObject } from './simulated-fleet.ts';
import { storageKey } from './simulated-object.ts';
import { MODIFIED_HEAD, type SimulatedStore } from './simulated-store.ts';
import { writeOptions } from './simulated-writes.ts';
import { monotonicMicros, restampedFrame, WRITTEN_ANNOTATION } from './written-stamp.ts';

/** What is written: shares of the whole. */
export interface Mix {
  /** Node leases renewed. */
  readonly lease: number;
  /** Pod status updates. */
  readonly pod: number;
  /** Updates of the configmaps in namespace `demo`. */
  readonly configmap: number;
  /** Events created, and the oldest deleted. */
  readonly event: number;
}

export type MixKind = keyof Mix;

export const DEFAULT_MIX: Mix = { lease: 60, pod: 28, configmap: 10, event: 2 };

export interface SimulatedWriterOptions {
  readonly store: SimulatedStore;
  /** Events per second, a constant arrival rate. Up to 20,000. */
  readonly rate: number;
  readonly mix?: Mix;
  /** Stops by itself after so many events. */
  readonly limit?: number;
}

/** What was written to one collection's namespace, to hold deliveries against. */
export interface Tally {
  count: number;
  /** Sum of the resource versions. */
  versionSum: number;
}

/** Falls behind by at most this; what is older is skipped and counted, so that a stall makes no endless burst. */
const MAX_LAG_MICROS = 1_000_000;
const MAX_EVENTS_HELD = 2_000;

/** Writes at a constant arrival rate, in a batch per millisecond; an event's stamp is the moment it was due. */
export class SimulatedWriter {
  readonly tallies = new Map<string, Tally>();
  readonly #options: SimulatedWriterOptions;
  readonly #schedule: readonly MixKind[];
  readonly #keys: Readonly<Record<Exclude<MixKind, 'event'>, readonly string[]>>;
  readonly #next: Record<MixKind, number> = { lease: 0, pod: 0, configmap: 0, event: 0 };
  readonly #collections: Readonly<Record<MixKind, Collection>>;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #due = 0;
  #written = 0;
  #skipped = 0;
  #onDone: (() => void) | undefined;
  /** Resolves when `limit` was reached. */
  readonly done: Promise<void>;

  constructor(options: SimulatedWriterOptions) {
    const { store, mix = DEFAULT_MIX } = options;
    this.#options = options;
    this.#collections = {
      lease: store.collection('coordination.k8s.io', 'leases'),
      pod: store.collection('', 'pods'),
      configmap: store.collection('', 'configmaps'),
      event: store.collection('', 'events'),
    };
    this.#keys = {
      lease: keysOf(this.#collections.lease, 'kube-node-lease'),
      pod: keysOf(this.#collections.pod, undefined),
      configmap: keysOf(this.#collections.configmap, 'demo').filter((key) => key !== 'demo/kube-root-ca.crt'),
    };
    this.#schedule = spread(mix).filter((kind) => kind === 'event' || this.#keys[kind].length > 0);
    this.done = new Promise((resolve) => (this.#onDone = resolve));
  }

  get written(): number {
    return this.#written;
  }

  /** Events that were due over a second ago and never written: the machine is too slow for the rate. */
  get skipped(): number {
    return this.#skipped;
  }

  start(): void {
    if (this.#options.rate <= 0 || this.#schedule.length === 0) return;
    this.#startedAt = monotonicMicros();
    this.#timer = setInterval(() => this.#tick(), 1);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    const { rate, limit = Number.POSITIVE_INFINITY } = this.#options;
    const interval = 1_000_000 / rate;
    const elapsed = monotonicMicros() - this.#startedAt;
    const oldest = Math.floor((elapsed - MAX_LAG_MICROS) / interval);
    if (oldest > this.#due) {
      this.#skipped += oldest - this.#due;
      this.#due = oldest;
    }
    for (const until = Math.floor(elapsed / interval); this.#due < until && this.#written < limit; this.#due += 1) {
      this.#write(Math.round(this.#startedAt + this.#due * interval));
    }
    if (this.#written >= limit) {
      this.stop();
      this.#onDone?.();
    }
  }

  #write(written: number): void {
    const kind = this.#schedule[this.#written % this.#schedule.length];
    this.#written += 1;
    if (kind === undefined) return;
    if (kind === 'event') this.#writeEvent(written);
    else this.#touch(kind, written);
  }

  #touch(kind: Exclude<MixKind, 'event'>, written: number): void {
    const keys = this.#keys[kind];
    const collection = this.#collections[kind];
    const key = keys[this.#next[kind] % keys.length] ?? '';
    this.#next[kind] += 1;
    const held = collection.get(key);
    if (held === undefined) return;
    const event = this.#options.store.replaceBytes(collection, held, (resourceVersion) =>
      restampedFrame({ head: MODIFIED_HEAD, bytes: held.bytes('json'), resourceVersion, written }),
    );
    this.#tally(collection, held.namespace, event.resourceVersion);
  }

  #writeEvent(written: number): void {
    const { store } = this.#options;
    const collection = this.#collections.event;
    const number = this.#next.event;
    this.#next.event += 1;
    const name = `web-${number}.18a`;
    const object = eventObject(name, number, String(written));
    const options = writeOptions(collection, {
      object,
      namespace: 'demo',
      name,
      uid: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
      creationTimestamp: '2026-01-01T00:00:00Z',
    });
    this.#tally(collection, 'demo', store.put(options).resourceVersion);
    if (number < MAX_EVENTS_HELD) return;
    const removed = store.delete(
      collection,
      storageKey({ namespace: 'demo', name: `web-${number - MAX_EVENTS_HELD}.18a` }),
    );
    if (removed !== undefined) this.#tally(collection, 'demo', removed.resourceVersion);
  }

  #tally({ resource: { group, resource } }: Collection, namespace: string, version: number): void {
    const key = `${group}/${resource}/${namespace}`;
    const tally = this.tallies.get(key);
    if (tally === undefined) this.tallies.set(key, { count: 1, versionSum: version });
    else {
      tally.count += 1;
      tally.versionSum += version;
    }
  }
}

/** A fleet's objects have a writer of their own. */
function keysOf(collection: Collection, namespace: string | undefined): string[] {
  return collection
    .list()
    .filter((object) => !(object instanceof FleetObject))
    .filter((object) => namespace === undefined || object.namespace === namespace)
    .map(storageKey);
}

/** A cycle of kinds in the shares of the mix, each spread evenly over it. */
function spread(mix: Mix): MixKind[] {
  const slots: { kind: MixKind; at: number }[] = [];
  for (const kind of ['lease', 'pod', 'configmap', 'event'] as const) {
    for (let index = 0; index < mix[kind]; index += 1) slots.push({ kind, at: (index + 0.5) / mix[kind] });
  }
  return slots.toSorted((a, b) => a.at - b.at).map(({ kind }) => kind);
}

/** About 1 KB. */
function eventObject(name: string, number: number, written: string): Parameters<typeof writeOptions>[1]['object'] {
  return {
    metadata: { name, namespace: 'demo', annotations: { [WRITTEN_ANNOTATION]: written } },
    involvedObject: {
      kind: 'Pod',
      namespace: 'demo',
      name: `web-${number}`,
      uid: name,
      apiVersion: 'v1',
      resourceVersion: '1',
      fieldPath: 'spec.containers{web}',
    },
    reason: 'Pulled',
    message: `Container image "registry.example.com/web:1.2.3" already present on machine and can be accessed by the pod. ${'x'.repeat(320)}`,
    source: { component: 'kubelet', host: 'node-0' },
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 1,
    type: 'Normal',
    eventTime: null,
    reportingComponent: 'kubelet',
    reportingInstance: 'node-0',
  };
}
