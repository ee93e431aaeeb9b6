import { VersionTooOld } from './simulated-collection.ts';
import { badRequest, expired } from './simulated-status.ts';
import type { SimulatedStore } from './simulated-store.ts';
import type { SimulatedValve } from './simulated-valve.ts';
import type { SimulatedWatches } from './simulated-watches.ts';

export interface FaultTargets {
  readonly store: SimulatedStore;
  readonly watches: SimulatedWatches;
  readonly valve: SimulatedValve;
  /** Cuts every connection but the one from this client port. */
  readonly cutConnections: (exceptPort: number | undefined) => void;
}

/** The body of `POST /simulated/faults`. */
interface FaultRequest {
  readonly fault: string;
  readonly ms?: number;
  readonly keep?: number;
  readonly resource?: string;
  readonly versions?: number;
  readonly bytesPerSecond?: number;
}

const MS_MAX = 600_000;

/** What can be made to go wrong, by method or by `POST /simulated/faults {"fault": NAME, …}`. */
export class SimulatedFaults {
  readonly #targets: FaultTargets;

  constructor(targets: FaultTargets) {
    this.#targets = targets;
  }

  /** Every open watch ends with ERROR 410, and nobody's version is held any more. */
  expire(): void {
    const { store, watches } = this.#targets;
    store.forget();
    const error = expired(`too old resource version: 1 (${store.resourceVersion})`);
    for (const stream of watches.streams()) stream.fail(error);
  }

  /** Connections are taken and pings answered, but nothing else is said for so long, on open streams either. */
  hang(milliseconds: number): void {
    this.#targets.valve.hang(milliseconds);
  }

  /** Every connection is cut, and of each window only the last `keep` events are left. */
  restart({ keep = 0, exceptPort }: { keep?: number; exceptPort?: number } = {}): void {
    this.#targets.store.forget(keep);
    this.#targets.cutConnections(exceptPort);
  }

  /** The open watches (of one resource) end in the middle of a frame, as if that were an end. Returns how many. */
  truncate(resource?: string): number {
    const streams = this.#targets.watches.streams(resource);
    for (const stream of streams) stream.truncate();
    return streams.length;
  }

  /**
   * The store is again as it was so many versions ago, and counts on from there: etcd restored from a backup, with the
   * restart of kube-apiserver that goes with it. Throws RangeError if a window does not reach back so far.
   */
  rewind(versions: number, exceptPort?: number): void {
    try {
      this.#targets.store.rewind(versions);
    } catch (error) {
      if (!(error instanceof VersionTooOld)) throw error;
      throw new RangeError(`${versions} versions back is more than the windows hold: ${error.message}`, {
        cause: error,
      });
    }
    this.#targets.cutConnections(exceptPort);
  }

  /** Each watch and LIST gets at most so many bytes a second, for so long. */
  slow(bytesPerSecond: number, milliseconds: number): void {
    this.#targets.valve.slow(bytesPerSecond, milliseconds);
  }

  /** A request of the control endpoint; the connection it came by, from `exceptPort`, is not cut. Throws StatusError 400. */
  apply(body: string, exceptPort: number | undefined): object {
    const request = parse(body);
    const except = exceptPort === undefined ? {} : { exceptPort };
    const watches = this.#targets.watches.size;
    switch (request.fault) {
      case 'expire':
        this.expire();
        break;
      case 'hang':
        this.hang(whole(request, 'ms', MS_MAX));
        break;
      case 'restart':
        this.restart({ keep: request.keep === undefined ? 0 : whole(request, 'keep'), ...except });
        break;
      case 'truncate':
        this.truncate(request.resource);
        break;
      case 'rewind':
        this.#rewindOrRefuse(whole(request, 'versions'), exceptPort);
        break;
      case 'slow':
        this.slow(whole(request, 'bytesPerSecond'), whole(request, 'ms', MS_MAX));
        break;
      default:
        throw badRequest(`unknown fault "${request.fault}": expire, hang, restart, truncate, rewind or slow`);
    }
    return { fault: request.fault, watches, resourceVersion: String(this.#targets.store.resourceVersion) };
  }

  #rewindOrRefuse(versions: number, exceptPort: number | undefined): void {
    try {
      this.rewind(versions, exceptPort);
    } catch (error) {
      throw error instanceof RangeError ? badRequest(error.message) : error;
    }
  }
}

function parse(body: string): FaultRequest {
  try {
    const request = JSON.parse(body) as Partial<FaultRequest> | null;
    if (typeof request?.fault === 'string') return { ...request, fault: request.fault };
  } catch (error) {
    throw badRequest(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw badRequest('a fault is {"fault": NAME, …}');
}

function whole(
  request: FaultRequest,
  name: 'ms' | 'keep' | 'versions' | 'bytesPerSecond',
  max = Number.MAX_SAFE_INTEGER,
): number {
  const value = request[name];
  if (value !== undefined && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw badRequest(`"${name}" of the fault "${request.fault}" must be a whole number up to ${max}`);
}
