import type { InventoryScope, LaneInventory } from '@dogwatch/bus/bus.ts';
import { groupVersionPath } from '@dogwatch/kube/group-resource.ts';
import { type Lane, laneAccept, laneKey } from '@dogwatch/kube/lane.ts';
import { objectFromListItem } from '@dogwatch/kube/list-framer.ts';
import { createListScanner } from '@dogwatch/kube/list-scanner.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { type ResourceVersion, parseResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { type Position, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import type { IngestCounters } from './counters.ts';
import type { Publisher } from './publisher.ts';
import { SharedWork } from './shared-work.ts';
import { readStatus } from './upstream-status.ts';
import { readWatch } from './upstream-watch.ts';

/** Upstream writes and dogwatch reads it in a third of the time it takes as JSON, which is for servers that know no other. */
const ENCODINGS = ['protobuf', 'json'] as const;
const WHOLE: InventoryScope = { namespace: '', labelSelector: '', fieldSelector: '', limit: 0 };
/** The cheapest consistent request: its cost does not grow with the lane. Like others it moves upstream's own cache. */
const PROBE: InventoryScope = { ...WHOLE, limit: 1 };
const LIST_TIMEOUT_MS = 3_000;
/** The shortest watch to which upstream sends a bookmark before it ends (measured: 2 s or less gives none). */
const VERIFICATION_SECONDS = '3';
const VERIFICATION_TIMEOUT_MS = 6_000;
const POLL_MS = 5;
/** Verification watches in a row that bring nothing, before it is left to the next who asks. */
const FAILURES_MAX = 3;
const ITEM_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Proof that a lane is as fresh as a moment (promise I6). The public API has no progress request, so upstream's
 * present version of the resource is probed, and the lane's watermark has to get there. A busy lane does within
 * milliseconds; of a quiet one an inventory tells whether what is held is what there is; and where that would be too
 * much, a short second watch from the version held does: its bookmark vouches for everything up to it, once the lane
 * has read what that watch has shown.
 */
export class Fence {
  readonly #upstream: Upstream;
  readonly #lane: Lane;
  readonly #publisher: Publisher;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #counters: IngestCounters;
  readonly #signal: AbortSignal;
  /** By scope: those under way, at most one or two for each process that follows the lane. */
  readonly #inventories = new Map<string, SharedWork<LaneInventory>>();
  #wanted: ResourceVersion = 0;
  #epoch = 0;
  #verifying = false;

  constructor(options: {
    upstream: Upstream;
    lane: Lane;
    publisher: Publisher;
    clock: Clock;
    log: Log;
    counters: IngestCounters;
    /** Life of the lane. */
    signal: AbortSignal;
  }) {
    this.#signal = options.signal;
    this.#upstream = options.upstream;
    this.#lane = options.lane;
    this.#publisher = options.publisher;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#counters = options.counters;
  }

  /**
   * Upstream's version at some moment after this call. One probe for all who ask before it leaves. Rejects with
   * StatusError if upstream does not answer.
   */
  async probe(): Promise<ResourceVersion> {
    return (await this.inventory(PROBE)).rv;
  }

  /** The same, and the lane's watermark will reach it unless upstream is lost. */
  async raise(): Promise<ResourceVersion> {
    const rv = await this.probe();
    // What was wanted of another history may never be reached in this one.
    this.#wanted = this.#epoch === this.#publisher.epoch ? Math.max(this.#wanted, rv) : rv;
    this.#epoch = this.#publisher.epoch;
    if (!this.#verifying) void this.#verifyUntilReached(this.#signal);
    return rv;
  }

  /**
   * What upstream holds at some moment after this call, by name and version only. One list for all who ask for the same
   * before it leaves. Rejects with StatusError if upstream does not answer.
   */
  inventory(scope = WHOLE): Promise<LaneInventory> {
    const key = JSON.stringify([scope.namespace, scope.labelSelector, scope.fieldSelector, scope.limit]);
    let work = this.#inventories.get(key);
    if (work === undefined) this.#inventories.set(key, (work = new SharedWork(() => this.#list(scope))));
    return work.ask().finally(() => {
      if (work.idle) this.#inventories.delete(key);
    });
  }

  async #list(scope: InventoryScope): Promise<LaneInventory> {
    this.#counters.fences++;
    const { epoch, rv: read } = this.#publisher;
    const accept = ENCODINGS.map((encoding) => laneAccept({ ...this.#lane, encoding, view: 'metadata' }, true)).join(
      ',',
    );
    const response = await this.#upstream.open({
      path: inventoryPath(this.#lane, scope),
      headers: { accept },
      signal: AbortSignal.any([this.#signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]),
    });
    if (response.status !== 200) throw new StatusError(await readStatus(response));
    const isProtobuf = response.headers['content-type']?.startsWith('application/vnd.kubernetes.protobuf') === true;
    const encoding = isProtobuf ? 'protobuf' : 'json';
    const scanner = createListScanner(encoding, ITEM_BYTES_MAX);
    const objects = new Map<string, { uid: string; rv: ResourceVersion }>();
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      scanner.push(chunk, (item) => {
        // In protobuf an item has not around it what an object has.
        const object = isProtobuf
          ? objectFromListItem(encoding, 'PartialObjectMetadata', 'meta.k8s.io/v1', item)
          : item;
        const { namespace, name, uid, resourceVersion } = scanObject(encoding, object);
        objects.set(namespace === '' ? name : `${namespace}/${name}`, { uid, rv: resourceVersion });
      });
    }
    const end = scanner.end();
    const rv = parseResourceVersion(end.resourceVersion);
    if (rv === undefined) throw new StatusError(serviceUnavailable('upstream listed without a resourceVersion'));
    if (rv < read && this.#publisher.epoch === epoch) this.#onBackwards(rv, read);
    return end.continue === '' ? { rv, objects } : { rv, objects, more: true };
  }

  /** A consistent list is never older than what upstream has shown before: upstream was restored, and what is held is not its state. */
  #onBackwards(rv: ResourceVersion, read: ResourceVersion): never {
    this.#publisher.onLost(`upstream is at version ${rv}, behind ${read}, which was read of it before`);
    throw new StatusError(serviceUnavailable('the history of this resource has changed, please try again', 1));
  }

  async #verifyUntilReached(signal: AbortSignal): Promise<void> {
    this.#verifying = true;
    try {
      // A busy lane gets there by itself.
      await sleep(this.#clock, POLL_MS * 4, signal);
      for (let failures = 0; failures < FAILURES_MAX && this.#publisher.rv < this.#wanted && !signal.aborted;) {
        failures = (await this.#verify(signal)) ? 0 : failures + 1;
      }
    } catch (error) {
      if (!signal.aborted) this.#log.warn({ lane: laneKey(this.#lane), err: error }, 'could not verify a quiet lane');
    } finally {
      this.#verifying = false;
    }
  }

  /** One verification watch; moves the watermark if it can. True if the lane got anywhere meanwhile. */
  async #verify(signal: AbortSignal): Promise<boolean> {
    this.#counters.verifications++;
    const publisher = this.#publisher;
    const { epoch, rv: held, settled: from } = publisher;
    const abort = new AbortController();
    // Counted as the lane counts: events of a version of which the lane has read a part are shown again.
    let shown: Position = { rv: from, index: WHOLE_VERSION };
    let vouched: ResourceVersion | undefined;
    const query = { resourceVersion: String(from), timeoutSeconds: VERIFICATION_SECONDS };
    const signals = [signal, abort.signal, AbortSignal.timeout(VERIFICATION_TIMEOUT_MS)];
    try {
      const end = await readWatch(
        this.#upstream,
        { lane: this.#lane, query, signal: AbortSignal.any(signals) },
        {
          onEvent: (type, object) => {
            if (vouched !== undefined) return;
            const rv = scanObject(this.#lane.encoding, object).resourceVersion;
            if (type === 'BOOKMARK') vouched = rv;
            else shown = { rv, index: rv === shown.rv ? shown.index + 1 : 0 };
            if (vouched !== undefined || publisher.rv >= this.#wanted) abort.abort();
          },
        },
      );
      if (end.kind !== 'eof') throw new StatusError(end.status);
    } catch (error) {
      if (vouched === undefined && publisher.rv < this.#wanted) throw error;
    }
    if (vouched !== undefined) {
      const deadline = this.#clock.now() + LIST_TIMEOUT_MS;
      while (!publisher.holds(shown) && this.#clock.now() < deadline && !signal.aborted) {
        await sleep(this.#clock, POLL_MS, signal);
      }
      if (publisher.holds(shown) && publisher.epoch === epoch) publisher.watermark(vouched);
    }
    return publisher.rv > held;
  }
}

function inventoryPath(lane: Lane, { namespace, labelSelector, fieldSelector, limit }: InventoryScope): string {
  const parent = namespace === '' ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  const query = new URLSearchParams();
  if (labelSelector !== '') query.set('labelSelector', labelSelector);
  if (fieldSelector !== '') query.set('fieldSelector', fieldSelector);
  if (limit > 0) query.set('limit', String(limit));
  const path = `${groupVersionPath(lane)}${parent}/${lane.resource}`;
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}
