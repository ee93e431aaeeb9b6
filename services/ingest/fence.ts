import type { LaneInventory } from '@dogwatch/bus/bus.ts';
import { type Lane, laneKey, lanePath } from '@dogwatch/kube/lane.ts';
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

/** Legal in a path but not as a DNS name, so that a probe is answered with a bookmark and nothing else. */
const NOTHING = 'metadata.name=dogwatch..probe';
const PROBE_TIMEOUT_MS = 3_000;
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
 * milliseconds; a quiet one is verified by a short second watch from the version held: its bookmark vouches for
 * everything up to it, once the lane has read what that watch has shown.
 */
export class Fence {
  readonly #upstream: Upstream;
  readonly #lane: Lane;
  readonly #publisher: Publisher;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #counters: IngestCounters;
  readonly #signal: AbortSignal;
  readonly #probe = new SharedWork(() => this.#sendProbe());
  readonly #inventory = new SharedWork(() => this.#readInventory());
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
   * Upstream's version at some moment after this call. The lane's watermark will reach it unless upstream is lost.
   * One probe for all who ask before it leaves. Rejects with StatusError if upstream does not answer.
   */
  async raise(): Promise<ResourceVersion> {
    const rv = await this.#probe.ask();
    // What was wanted of another history may never be reached in this one.
    this.#wanted = this.#epoch === this.#publisher.epoch ? Math.max(this.#wanted, rv) : rv;
    this.#epoch = this.#publisher.epoch;
    if (!this.#verifying) void this.#verifyUntilReached(this.#signal);
    return rv;
  }

  /** What upstream holds now, by name and version only: for small lanes, and those upstream gives no bookmarks. */
  inventory(): Promise<LaneInventory> {
    return this.#inventory.ask();
  }

  async #readInventory(): Promise<LaneInventory> {
    this.#counters.fences++;
    const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
    const response = await this.#upstream.open({
      path: lanePath(this.#lane),
      headers: { accept },
      signal: AbortSignal.any([this.#signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]),
    });
    if (response.status !== 200) throw new StatusError(await readStatus(response));
    const scanner = createListScanner('json', ITEM_BYTES_MAX);
    const objects = new Map<string, { uid: string; rv: ResourceVersion }>();
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      scanner.push(chunk, (item) => {
        const { namespace, name, uid, resourceVersion } = scanObject('json', item);
        objects.set(namespace === '' ? name : `${namespace}/${name}`, { uid, rv: resourceVersion });
      });
    }
    const rv = parseResourceVersion(scanner.end().resourceVersion);
    if (rv === undefined) throw new StatusError(serviceUnavailable('upstream listed without a resourceVersion'));
    return { rv, objects };
  }

  async #sendProbe(): Promise<ResourceVersion> {
    this.#counters.fences++;
    const abort = new AbortController();
    const query = {
      sendInitialEvents: 'true',
      resourceVersionMatch: 'NotOlderThan',
      resourceVersion: '',
      fieldSelector: NOTHING,
      timeoutSeconds: VERIFICATION_SECONDS,
    };
    let found: ResourceVersion | undefined;
    const signals = [this.#signal, abort.signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)];
    try {
      const end = await readWatch(
        this.#upstream,
        { lane: this.#lane, query, signal: AbortSignal.any(signals) },
        {
          onEvent: (type, object) => {
            if (type !== 'BOOKMARK') return;
            found = scanObject(this.#lane.encoding, object).resourceVersion;
            abort.abort();
          },
        },
      );
      if (end.kind !== 'eof') throw new StatusError(end.status);
    } catch (error) {
      if (found === undefined) throw error;
    }
    if (found === undefined) throw new StatusError(serviceUnavailable('upstream gave no version to be fresh at'));
    return found;
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
      const deadline = this.#clock.now() + PROBE_TIMEOUT_MS;
      while (!publisher.holds(shown) && this.#clock.now() < deadline && !signal.aborted) {
        await sleep(this.#clock, POLL_MS, signal);
      }
      if (publisher.holds(shown) && publisher.epoch === epoch) publisher.watermark(vouched);
    }
    return publisher.rv > held;
  }
}
