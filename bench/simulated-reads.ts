import { StatusError, badRequest, expired, objectStatus, tooLarge } from './simulated-status.ts';
import type { ListOptions, ResourcePath } from './simulated-request.ts';
import { type Scope, inScope } from './simulated-selector.ts';
import { byKey, type Collection, VersionTooOld } from './simulated-collection.ts';
import { type StoredObject, storageKey } from './simulated-object.ts';
import type { SimulatedStore } from './simulated-store.ts';
import { listParts, type Wire } from './simulated-view.ts';
import { SimulatedWatch } from './simulated-watch.ts';

const INCONSISTENT =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without ' +
  'the continue parameter, or use the continue token in this response to retrieve the remainder of the results. ' +
  'Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted ' +
  'between the time the first chunk was returned and now may show up in the list.';

/** How long a request for a version that has not happened waits (protocol L10). */
const FRESHNESS_WAIT_MS = 3_000;
/** Chunks of a LIST body; each is written when the one before it was taken. */
const CHUNK_BYTES = 256 * 1024;

/** Waits until the store has reached a version; false if it did not within the time. */
export type WaitForVersion = (version: number, milliseconds: number) => Promise<boolean>;

export interface ReadContext {
  readonly store: SimulatedStore;
  readonly waitForVersion: WaitForVersion;
}

/** The chunks of a LIST's body, made as they are asked for. Throws StatusError. */
export async function list(
  { store, waitForVersion }: ReadContext,
  collection: Collection,
  options: ListOptions,
  wire: Wire,
): Promise<Iterable<Buffer>> {
  const token = options.continueToken === '' ? undefined : decodeToken(options);
  const wanted = Number(options.resourceVersion);
  if (wanted > store.resourceVersion && !(await waitForVersion(wanted, FRESHNESS_WAIT_MS))) {
    throw tooLarge(wanted, store.resourceVersion);
  }
  if (options.resourceVersion === '') collection.refresh(store.resourceVersion);
  const exact = options.match === 'Exact' || (options.match === '' && options.limit > 0 && wanted > 0);
  const version = token !== undefined && token.version > 0 ? token.version : exact ? wanted : store.resourceVersion;
  const all = listAt(collection, version, token);
  const matching = all.filter((object) => inScope(object, options.scope));
  const rest = token === undefined ? matching : matching.filter((object) => after(object, token.start));
  const page = options.limit > 0 && options.resourceVersion !== '0' ? rest.slice(0, options.limit) : rest;
  const last = page.at(-1);
  const more = last !== undefined && page.length === options.limit && isMore(all, options.scope, last);
  return listBody({
    collection,
    options,
    wire,
    version,
    objects: page,
    remaining: more ? rest.length - page.length : undefined,
  });
}

/** True if there is anything left to look at, selected or not (protocol L14); a single key is read alone. */
function isMore(all: readonly StoredObject[], scope: Scope, last: StoredObject): boolean {
  const { namespace, fields } = scope;
  if (namespace !== undefined && fields.some(({ field, equal }) => field === 'metadata.name' && equal)) return false;
  const from = `${storageKey(last)}\u0000`;
  return all.some((object) => (namespace === undefined || object.namespace === namespace) && after(object, from));
}

function listAt(collection: Collection, version: number, token: Token | undefined): StoredObject[] {
  try {
    return collection.listAt(version);
  } catch (error) {
    if (!(error instanceof VersionTooOld)) throw error;
    if (token === undefined) throw expired('The resourceVersion for the provided list is too old.');
    throw expired(INCONSISTENT, { continue: encodeToken(-1, token.start) });
  }
}

interface ListBody {
  readonly collection: Collection;
  readonly options: ListOptions;
  readonly wire: Wire;
  readonly version: number;
  readonly objects: readonly StoredObject[];
  /** Undefined on the last page. */
  readonly remaining: number | undefined;
}

function listBody({ collection, options, wire, version, objects, remaining }: ListBody): Iterable<Buffer> {
  const { namespace, labels, fields } = options.scope;
  const last = objects.at(-1);
  const start = last === undefined ? '' : `${storageKey(last)}\u0000`;
  // Relative to the request.
  const relative = namespace === undefined ? start : start.slice(namespace.length + 1);
  const metadata = {
    resourceVersion: String(version),
    ...(remaining === undefined ? {} : { continue: encodeToken(version, relative) }),
    ...(remaining === undefined || labels.length + fields.length > 0 ? {} : { remainingItemCount: remaining }),
  };
  return joined(listParts(collection.resource, wire, metadata, objects));
}

function* joined(all: Iterable<Buffer>): Generator<Buffer> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for (const part of all) {
    parts.push(part);
    bytes += part.length;
    if (bytes < CHUNK_BYTES) continue;
    yield Buffer.concat(parts);
    parts = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(parts);
}

interface Token {
  readonly version: number;
  /** The first key of the page. */
  readonly start: string;
}

/** The token's published form (protocol L13). */
function encodeToken(version: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: version, start: `/${start}` })).toString('base64url');
}

function decodeToken({ continueToken, resourceVersion, scope }: ListOptions): Token {
  if (resourceVersion !== '' && resourceVersion !== '0') {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  try {
    const token = JSON.parse(Buffer.from(continueToken, 'base64url').toString()) as {
      v: string;
      rv: number;
      start: string;
    };
    if (token.v !== 'meta.k8s.io/v1' || !Number.isInteger(token.rv) || token.rv === 0)
      throw new TypeError('incorrect version');
    const start = token.start.replace(/^\//, '');
    const relative =
      scope.namespace === undefined || start.startsWith(`${scope.namespace}/`) ? start : `${scope.namespace}/${start}`;
    return { version: token.rv, start: relative };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw badRequest(`invalid continue token: continue key is not valid: ${reason}`);
  }
}

function after(object: StoredObject, start: string): boolean {
  return byKey(storageKey(object), start) >= 0;
}

/** One object. Throws StatusError 404. */
export function getObject(collection: Collection, target: ResourcePath): StoredObject {
  const object = collection.get(storageKey(target));
  if (object !== undefined) return object;
  const { group, resource } = collection.resource;
  throw objectStatus(404, 'NotFound', {
    message: `${resource}${group === '' ? '' : `.${group}`} "${target.name}" not found`,
    name: target.name,
    group,
    resource,
  });
}

/**
 * Starts a watch. Throws StatusError for what upstream reports inside the stream: 410 (W8) and 504 (W5).
 */
export async function startWatch(
  { store, waitForVersion }: ReadContext,
  collection: Collection,
  options: ListOptions,
  wire: Wire,
): Promise<SimulatedWatch> {
  const wanted = Number(options.resourceVersion);
  const { scope } = options;
  const fresh = options.resourceVersion === '' || options.resourceVersion === '0';
  if (!options.initialEvents && !fresh) {
    return new SimulatedWatch({
      collection,
      scope,
      wire,
      initial: [],
      position: positionAfter(collection, wanted),
      after: wanted,
      endBookmark: undefined,
    });
  }
  if (wanted > store.resourceVersion && !(await waitForVersion(wanted, FRESHNESS_WAIT_MS))) {
    throw tooLarge(wanted, store.resourceVersion);
  }
  if (options.resourceVersion === '') collection.refresh(store.resourceVersion);
  const version = Math.max(collection.freshness, wanted);
  // Without initial events a version of "0" or "" means: from now on; upstream's old form still sends the objects (W3, W6).
  const silent = !options.initialEvents && options.match === 'NotOlderThan';
  return new SimulatedWatch({
    collection,
    scope,
    wire,
    initial: silent ? [] : collection.list().filter((object) => inScope(object, scope)),
    position: collection.head,
    after: version,
    endBookmark: options.initialEvents && options.bookmarks ? version : undefined,
  });
}

function positionAfter(collection: Collection, version: number): number {
  try {
    return collection.positionAfter(version);
  } catch (error) {
    if (error instanceof VersionTooOld) throw expired(error.message);
    throw error;
  }
}

/** Upstream's answer to a method that a path does not have. */
export function methodNotAllowed(): StatusError {
  return new StatusError(405, {
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
    details: {},
  });
}
