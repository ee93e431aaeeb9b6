import { isAscii } from 'node:buffer';
import { internedText } from '@dogwatch/kube/interned-text.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';
import { EnvelopeCorrupt } from './sealed-message.ts';

/** By their number in an index; numbers are never given anew. */
const CHANGE_TYPES = ['ADDED', 'MODIFIED', 'DELETED'] as const;
const TEXTS_PER_OBJECT = 3;

/** Lowest and highest version of some objects, 0 if there are none. */
export interface VersionRange {
  readonly firstRv: ResourceVersion;
  readonly lastRv: ResourceVersion;
}

export function versionRange(objects: readonly KubeObject[]): VersionRange {
  let [firstRv, lastRv] = [objects[0]?.rv ?? 0, 0];
  for (const { rv } of objects) {
    if (rv < firstRv) firstRv = rv;
    if (rv > lastRv) lastRv = rv;
  }
  return { firstRv, lastRv };
}

/**
 * What consumers route objects by, a column each, so that most numbers are packed into one byte. Texts are not packed
 * as strings: those that msgpackr unpacks share memory with their neighbours, and one key would keep all alive.
 */
export function objectColumns(objects: readonly KubeObject[], firstRv: ResourceVersion): readonly unknown[] {
  const texts: string[] = [];
  const namespaceLengths: number[] = [];
  const rvSteps: number[] = [];
  const objectLengths: number[] = [];
  let last = firstRv;
  for (const { key, uid, indexed, namespace, rv, bytes } of objects) {
    texts.push(key, uid, indexed);
    namespaceLengths.push(namespace.length);
    rvSteps.push(rv - last);
    objectLengths.push(bytes.length);
    last = rv;
  }
  return [...textColumns(texts), namespaceLengths, rvSteps, objectLengths];
}

/** All texts as one, and the length of each in bytes. */
function textColumns(texts: readonly string[]): [Buffer, number[]] {
  const all = texts.join('');
  const bytes = Buffer.from(all);
  if (bytes.length === all.length) return [bytes, texts.map((text) => text.length)];
  const parts = texts.map((text) => Buffer.from(text));
  return [Buffer.concat(parts), parts.map((part) => part.length)];
}

/** Makes the objects of an index in their order, without looking into their bytes. Throws EnvelopeCorrupt. */
class ObjectColumnsReader {
  readonly #texts: Buffer;
  readonly #ascii: boolean;
  readonly #textLengths: readonly number[];
  readonly #namespaceLengths: readonly number[];
  readonly #rvSteps: readonly number[];
  readonly objectLengths: readonly number[];
  #at = 0;
  #next = 0;
  #rv: ResourceVersion;

  constructor(columns: unknown, count: number, firstRv: ResourceVersion) {
    if (!Array.isArray(columns) || !Buffer.isBuffer(columns[0])) throw new EnvelopeCorrupt('the columns of objects');
    this.#texts = columns[0];
    this.#ascii = isAscii(this.#texts);
    this.#textLengths = numbers(columns[1], TEXTS_PER_OBJECT * count);
    this.#namespaceLengths = numbers(columns[2], count);
    this.#rvSteps = numbers(columns[3], count, Number.MIN_SAFE_INTEGER);
    this.objectLengths = numbers(columns[4], count);
    if (sum(this.#textLengths) !== this.#texts.length) throw new EnvelopeCorrupt('texts as long as their lengths');
    this.#rv = firstRv;
  }

  /** The next object, whose bytes are `bytes`. */
  next(bytes: Buffer): KubeObject {
    const place = this.#next++;
    const namespaceLength = this.#namespaceLengths[place] as number;
    // The namespace is read first, for it is a part of the key: few, and met over and over.
    const shared =
      this.#ascii && namespaceLength > 0 ? internedText(this.#texts, this.#at, this.#at + namespaceLength) : undefined;
    const key = this.#text(TEXTS_PER_OBJECT * place);
    const uid = this.#text(TEXTS_PER_OBJECT * place + 1);
    const indexed = this.#text(TEXTS_PER_OBJECT * place + 2);
    const namespace = shared ?? key.slice(0, namespaceLength);
    const name = namespaceLength === 0 ? key : key.slice(namespaceLength + 1);
    const rv = (this.#rv += this.#rvSteps[place] as number);
    if (namespaceLength > key.length || !Number.isSafeInteger(rv) || rv < 0) {
      throw new EnvelopeCorrupt('a namespace inside its key, and a version');
    }
    return { key, namespace, name, uid, rv, bytes, indexed };
  }

  #text(place: number): string {
    const length = this.#textLengths[place] as number;
    if (length === 0) return '';
    const start = this.#at;
    this.#at += length;
    return this.#texts.toString(this.#ascii ? 'latin1' : 'utf8', start, this.#at);
  }
}

/** The objects of an index. The bytes of each are a copy of its part of `payload`. Throws EnvelopeCorrupt. */
export function readObjects(columns: unknown, count: number, firstRv: ResourceVersion, payload: Buffer): KubeObject[] {
  const reader = new ObjectColumnsReader(columns, count, firstRv);
  if (sum(reader.objectLengths) !== payload.length) throw new EnvelopeCorrupt('objects as long as their lengths');
  let at = 0;
  return reader.objectLengths.map((length) => {
    const start = at;
    at += length;
    return reader.next(ownCopy(payload.subarray(start, at)));
  });
}

/** What the index says of changes beside their objects, and the bytes of each: its frame, with the object in it. */
export function changeColumns(changes: readonly Change[]): {
  readonly columns: readonly unknown[];
  readonly pieces: readonly Buffer[];
  readonly payloadBytes: number;
} {
  const types = Buffer.alloc(changes.length);
  const frameLengths: number[] = [];
  const objectOffsets: number[] = [];
  const pieces: Buffer[] = [];
  let payloadBytes = 0;
  for (const [place, { type, object, frame }] of changes.entries()) {
    types[place] = CHANGE_TYPES.indexOf(type);
    const offset = offsetInside(frame, object.bytes);
    frameLengths.push(frame.length);
    objectOffsets.push(offset ?? frame.length);
    pieces.push(frame);
    payloadBytes += frame.length;
    if (offset !== undefined) continue;
    pieces.push(object.bytes);
    payloadBytes += object.bytes.length;
  }
  return { columns: [types, frameLengths, objectOffsets], pieces, payloadBytes };
}

/**
 * Where the bytes of `part` are in `whole`; undefined if they are not. Upstream's own events are framed around their
 * object, which is a view; a frame made here (of a repair, or of what was read from another process) is a copy.
 */
function offsetInside(whole: Buffer, part: Buffer): number | undefined {
  const offset = part.byteOffset - whole.byteOffset;
  if (part.buffer === whole.buffer && offset >= 0 && offset + part.length <= whole.length) return offset;
  const copied = whole.indexOf(part);
  return copied < 0 ? undefined : copied;
}

/**
 * The changes of an index. Each owns a copy of its part of `payload`, of which frame and object are views, as they are
 * where they were read: an object may live for weeks, and must not keep alive what came with it. Throws EnvelopeCorrupt.
 */
export function readChanges(
  index: { readonly objects: unknown; readonly changes: unknown },
  { count, firstRv }: { readonly count: number; readonly firstRv: ResourceVersion },
  payload: Buffer,
): Change[] {
  const reader = new ObjectColumnsReader(index.objects, count, firstRv);
  const [types, frameColumn, offsetColumn] = Array.isArray(index.changes) ? index.changes : [];
  if (!Buffer.isBuffer(types) || types.length !== count) throw new EnvelopeCorrupt('the types of changes');
  const frameLengths = numbers(frameColumn, count);
  const objectOffsets = numbers(offsetColumn, count);
  const changes: Change[] = [];
  let at = 0;
  for (let place = 0; place < count; place++) {
    const type = CHANGE_TYPES[types[place] as number];
    const frameLength = frameLengths[place] as number;
    const objectStart = objectOffsets[place] as number;
    const objectEnd = objectStart + (reader.objectLengths[place] as number);
    const start = at;
    at += Math.max(frameLength, objectEnd);
    if (type === undefined || at > payload.length) throw new EnvelopeCorrupt('a change inside the payload');
    const own = ownCopy(payload.subarray(start, at));
    changes.push({
      type,
      object: reader.next(own.subarray(objectStart, objectEnd)),
      frame: own.subarray(0, frameLength),
    });
  }
  if (at !== payload.length) throw new EnvelopeCorrupt('changes as long as the payload');
  return changes;
}

function numbers(column: unknown, count: number, min = 0): readonly number[] {
  const fits = Array.isArray(column) && column.length === count;
  if (!fits || !column.every((value) => Number.isSafeInteger(value) && value >= min)) {
    throw new EnvelopeCorrupt(`a column of ${count} numbers`);
  }
  return column;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
