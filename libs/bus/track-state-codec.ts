import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Change, Tombstone } from '@dogwatch/watch/watch-cache.ts';
import { changeColumns, objectColumns, readChanges, readObjects, versionRange } from './envelope-index.ts';
import { COMPRESS_FROM_BYTES, type MessageBody, composeMessage, readBody } from './message-body.ts';
import { packFacts, unpackFacts } from './packed-facts.ts';
import { pack, unpack } from './packing.ts';
import {
  EnvelopeCorrupt,
  EnvelopeTooLarge,
  MESSAGE_KINDS,
  SEAL_BYTES,
  orCorrupt,
  seal,
  sealedChecksum,
  unseal,
} from './sealed-message.ts';
import type { TrackState } from './track-state.ts';

/** Object bytes of a page, which takes a few milliseconds to make or read. A longer object has a page of its own. */
const PAGE_BYTES = 512 * 1024;
/** Counted on top of an object's bytes: its place in the index. */
const ITEM_BYTES = 128;
/** A page's head: seal, then the lengths of its index and payload before compression. */
const PAGE_HEAD_BYTES = SEAL_BYTES + 8;
/** Bytes of a state somebody puts together: far more than etcd takes. */
const STATE_BYTES_MAX = 2 ** 33;

type Head = readonly [
  kind: TrackState['kind'],
  epoch: number,
  positionRv: ResourceVersion,
  positionIndex: number,
  watermark: ResourceVersion,
  counts: readonly [objects: number, tombstones: number, changes: number],
  whole?: readonly [facts: Buffer, listingRv: ResourceVersion, horizon: ResourceVersion],
];

/** Some items of one kind: how many, from which version, how many bytes of the payload, and their columns. */
type Section = readonly [number, ResourceVersion, number, ...unknown[]];

type PageIndex = readonly [
  /** Checksum of the page before; 0 before the first. Pages of two states do not fit together. */
  before: number,
  place: number,
  /** How many pages there were; only the last one says it. */
  count: number | undefined,
  /** Only in the first. */
  head: Head | undefined,
  objects: Section,
  tombstones: Section,
  changes: Section,
];

interface Items {
  readonly objects: readonly KubeObject[];
  readonly tombstones: readonly Tombstone[];
  readonly changes: readonly Change[];
}

/**
 * The pages that carry `state`, each made when it is asked for, so that the caller can let the event loop turn between
 * two. A page is a sealed message, mostly of less than 512 KiB, and may have to be split to travel.
 * Throws EnvelopeTooLarge for an object above 1 GiB.
 */
export function* encodeTrackState(state: TrackState): Generator<Buffer, void, undefined> {
  const all = itemsOf(state);
  const cutter = new Cutter(all);
  let before = 0;
  for (let place = 0; ; place++) {
    const items = cutter.next();
    const head = place === 0 ? headOf(state, all) : undefined;
    const page = encodePage([before, place, cutter.done ? place + 1 : undefined, head], items);
    before = sealedChecksum(page);
    yield page;
    if (cutter.done) return;
  }
}

/**
 * Puts the pages of one state together, which must come whole and in order. Objects own their bytes, and nothing of a
 * page is kept. A page that is refused changes nothing: the right one may follow.
 */
export class TrackStateReader {
  #head: Head | undefined;
  #before = 0;
  #pages = 0;
  #bytes = 0;
  #done = false;
  readonly #items = {
    objects: [] as KubeObject[],
    tombstones: [] as Tombstone[],
    changes: [] as Change[],
  };

  /** The state that `page`, its last, completes. Throws EnvelopeCorrupt, EnvelopeVersionUnsupported, EnvelopeTooLarge. */
  add(page: Buffer): TrackState | undefined {
    const sealed = unseal(page);
    if (sealed.kind !== MESSAGE_KINDS.page) throw new EnvelopeCorrupt('a page of a state');
    return orCorrupt('a page of a state', () => {
      const [indexBytes, payloadBytes] = [page.readUInt32BE(SEAL_BYTES), page.readUInt32BE(SEAL_BYTES + 4)];
      const body = readBody(sealed, PAGE_HEAD_BYTES, indexBytes + payloadBytes);
      const index = unpack(body.subarray(0, indexBytes)) as PageIndex;
      const [before, place, count] = index;
      const fits = place === this.#pages && before === this.#before && (count ?? place + 1) === place + 1;
      if (this.#done || !fits) throw new EnvelopeCorrupt(`page ${this.#pages} of a state`);
      return this.#take(index, body.subarray(indexBytes), sealedChecksum(page));
    });
  }

  #take(index: PageIndex, payload: Buffer, checksum: number): TrackState | undefined {
    const [, , count, head] = index;
    const bytes = this.#bytes + payload.length;
    if (bytes > STATE_BYTES_MAX) throw new EnvelopeTooLarge(bytes, STATE_BYTES_MAX);
    const items = readItems(index, payload);
    this.#head ??= head;
    this.#bytes = bytes;
    this.#before = checksum;
    this.#pages++;
    for (const object of items.objects) this.#items.objects.push(object);
    for (const tombstone of items.tombstones) this.#items.tombstones.push(tombstone);
    for (const change of items.changes) this.#items.changes.push(change);
    if (count === undefined) return undefined;
    this.#done = true;
    return stateOf(this.#head as Head, this.#items);
  }
}

/** Cuts the items of a state into pages, in order. */
class Cutter {
  readonly #all: Items;
  readonly #at = { objects: 0, tombstones: 0, changes: 0 };
  #bytes = 0;

  constructor(all: Items) {
    this.#all = all;
  }

  get done(): boolean {
    const { objects, tombstones, changes } = this.#all;
    const at = this.#at;
    return at.objects === objects.length && at.tombstones === tombstones.length && at.changes === changes.length;
  }

  next(): Items {
    this.#bytes = 0;
    return {
      objects: this.#cut('objects', ({ bytes }) => bytes.length),
      tombstones: this.#cut('tombstones', ({ object }) => object.bytes.length),
      changes: this.#cut('changes', ({ frame }) => frame.length),
    };
  }

  #cut<K extends keyof Items>(kind: K, bytesOf: (item: Items[K][number]) => number): Items[K] {
    const items: Items[K] = this.#all[kind];
    const start = this.#at[kind];
    let end = start;
    for (; end < items.length; end++) {
      const bytes = this.#bytes + bytesOf(items[end] as Items[K][number]) + ITEM_BYTES;
      if (this.#bytes > 0 && bytes > PAGE_BYTES) break;
      this.#bytes = bytes;
    }
    this.#at[kind] = end;
    return items.slice(start, end) as unknown as Items[K];
  }
}

function itemsOf(state: TrackState): Items {
  const { changes } = state;
  if (state.kind === 'changes') return { objects: [], tombstones: [], changes };
  return { objects: state.listing.objects, tombstones: state.tombstones, changes };
}

function headOf(state: TrackState, { objects, tombstones, changes }: Items): Head {
  const { kind, epoch, position, watermark } = state;
  const counts = [objects.length, tombstones.length, changes.length] as const;
  const head = [kind, epoch, position.rv, position.index, watermark, counts] as const;
  return kind === 'changes' ? head : [...head, [packFacts(state.facts), state.listing.rv, state.horizon]];
}

function encodePage(start: readonly [number, number, number | undefined, Head | undefined], items: Items): Buffer {
  const pieces: Buffer[] = [];
  const objectSection = (objects: readonly KubeObject[], ...rest: readonly unknown[]): Section => {
    const { firstRv } = versionRange(objects);
    let bytes = 0;
    for (const object of objects) {
      pieces.push(object.bytes);
      bytes += object.bytes.length;
    }
    return [objects.length, firstRv, bytes, objectColumns(objects, firstRv), ...rest];
  };
  const changeSection = (changes: readonly Change[]): Section => {
    const objects = changes.map(({ object }) => object);
    const { firstRv } = versionRange(objects);
    const { columns, pieces: frames, payloadBytes } = changeColumns(changes);
    for (const frame of frames) pieces.push(frame);
    return [changes.length, firstRv, payloadBytes, objectColumns(objects, firstRv), columns];
  };
  const { objects, tombstones, changes } = items;
  const dead = tombstones.map(({ object }) => object);
  const births = tombstones.map(({ born }) => born);
  const sections = [objectSection(objects), objectSection(dead, births), changeSection(changes)] as const;
  const index = pack([...start, ...sections] satisfies PageIndex);
  const payloadBytes = sections.reduce((total, [, , bytes]) => total + bytes, 0);
  return sealPage({ index, pieces, payloadBytes });
}

function sealPage(body: MessageBody): Buffer {
  const { message, flags } = composeMessage(PAGE_HEAD_BYTES, body, COMPRESS_FROM_BYTES);
  message.writeUInt32BE(body.index.length, SEAL_BYTES);
  message.writeUInt32BE(body.payloadBytes, SEAL_BYTES + 4);
  return seal(message, MESSAGE_KINDS.page, flags);
}

function readItems(index: PageIndex, payload: Buffer): Items {
  const [, , , , objects, tombstones, changes] = index;
  let at = 0;
  const bytesOf = ([, , bytes]: Section): Buffer => payload.subarray(at, (at += bytes));
  const [count, firstRv, , columns] = objects;
  const listed = readObjects(columns, count, firstRv, bytesOf(objects));
  const dead = readObjects(tombstones[3], tombstones[0], tombstones[1], bytesOf(tombstones));
  const births = tombstones[4] as readonly ResourceVersion[];
  if (births.length !== dead.length || !births.every(isVersion)) throw new EnvelopeCorrupt('the births of tombstones');
  const at3 = { objects: changes[3], changes: changes[4] };
  const read = readChanges(at3, { count: changes[0], firstRv: changes[1] }, bytesOf(changes));
  if (at !== payload.length) throw new EnvelopeCorrupt('sections as long as the payload');
  return {
    objects: listed,
    tombstones: dead.map((object, place) => ({ object, born: births[place] as ResourceVersion })),
    changes: read,
  };
}

function stateOf(head: Head, { objects, tombstones, changes }: Items): TrackState {
  const [kind, epoch, rv, index, watermark, counts, whole] = head;
  const held = [objects.length, tombstones.length, changes.length];
  if (![epoch, rv, index, watermark].every(isVersion)) throw new EnvelopeCorrupt('the numbers of a state');
  if (held.some((length, place) => length !== counts[place])) throw new EnvelopeCorrupt('all of a state');
  const common = { epoch, changes, position: { rv, index }, watermark };
  if (kind === 'changes') return { kind, ...common };
  if (kind !== 'state' || whole === undefined) throw new EnvelopeCorrupt('a state of a known kind');
  const [facts, listingRv, horizon] = whole;
  if (!isVersion(listingRv) || !isVersion(horizon)) throw new EnvelopeCorrupt('the versions of a state');
  return { kind, ...common, facts: unpackFacts(facts), listing: { rv: listingRv, objects }, tombstones, horizon };
}

function isVersion(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
