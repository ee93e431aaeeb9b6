import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { openUnknown } from '@dogwatch/kube/runtime-unknown.ts';
import { toProtobuf } from './simulated-object.ts';
import type { SimulatedResource } from './simulated-resources.ts';

/** Stands in a template where the resourceVersion goes: ten digits, so that no length ever changes. */
export const VERSION_MARK = '~VVVVVVVVV';
/** Stands where the moment of a write goes, as sixteen digits of microseconds. */
export const STAMP_MARK = '~SSSSSSSSSSSSSSS';
/** Stands where the moment of a write goes as a MicroTime: `TIME_ORIGIN` and the microseconds of the stamp. */
export const TIME_MARK = '2043-07-08T09:10:11.987654Z';
/** What a stamp of 0 is as a MicroTime. */
export const TIME_ORIGIN = '2026-01-01T00:00:00.000000Z';

const ORIGIN_SECONDS = Date.parse(TIME_ORIGIN) / 1000;
const MILLION = 1_000_000;
const VERSION_MAX = 9_999_999_999;
const VERSION_MIN = 1_000_000_000;

/** Digits that depend on the object alone: `mark` is replaced by `valueOf(index)`, padded to its width (at most 9). */
export interface Place {
  readonly mark: string;
  readonly valueOf: (index: number) => number;
}

/** A mark's digits of one object. */
export function placeText({ mark, valueOf }: Place, index: number): string {
  return String(valueOf(index)).padStart(mark.length, '0');
}

/** What one written object differs in. */
export interface Written {
  readonly indexes: Uint32Array;
  readonly versions: Float64Array;
  /** Microseconds. */
  readonly stamps: Float64Array;
}

/** `object`: as watch events carry it; `event`: the MODIFIED event, framed. */
type Form = 'object' | 'event';

/**
 * Objects of one length that differ in a few places only: one image in each encoding, copied and patched, which takes
 * about half a microsecond an object. Nanoseconds stand in protobuf as a varint of five bytes always, padded where Go
 * would write fewer; every decoder takes that.
 */
export class SimulatedTemplate {
  readonly #resource: SimulatedResource;
  readonly #json: Buffer;
  readonly #places: readonly Place[];
  readonly #images = new Map<string, Image>();

  /** `json` is a whole object as stored, with marks. */
  constructor(resource: SimulatedResource, json: string, places: readonly Place[]) {
    this.#resource = resource;
    this.#json = Buffer.from(json);
    this.#places = places;
  }

  /** Bytes of one object or event. */
  length(encoding: Encoding, form: Form): number {
    return this.#image(encoding, form).bytes.length;
  }

  /** Of an object in protobuf, without its envelope. */
  get rawLength(): number {
    const { rawStart, rawEnd } = openUnknown(this.#image('protobuf', 'object').bytes);
    return rawEnd - rawStart;
  }

  /** The objects or events of `written`, one after the other. Throws RangeError for a version without ten digits. */
  encode(encoding: Encoding, form: Form, written: Written): Buffer {
    const image = this.#image(encoding, form);
    const { length } = image.bytes;
    const target = repeated(image.bytes, written.indexes.length);
    for (let at = 0; at < written.indexes.length; at += 1) {
      const version = written.versions[at] ?? 0;
      if (!(version >= VERSION_MIN && version <= VERSION_MAX))
        throw new RangeError(`resourceVersion ${version} has not the ten digits a template needs`);
      image.patch(target, at * length, { index: written.indexes[at] ?? 0, version, stamp: written.stamps[at] ?? 0 });
    }
    return target;
  }

  #image(encoding: Encoding, form: Form): Image {
    const key = `${encoding} ${form}`;
    let image = this.#images.get(key);
    if (image === undefined) {
      const object = encoding === 'json' ? this.#json : toProtobuf(this.#resource, this.#json);
      image = new Image(encoding, form === 'object' ? object : frameEvent(encoding, 'MODIFIED', object), this.#places);
      this.#images.set(key, image);
    }
    return image;
  }
}

/** The bytes with their marks, and where these stand. */
class Image {
  readonly bytes: Buffer;
  readonly #versions: readonly number[];
  readonly #stamps: readonly number[];
  readonly #times: readonly number[];
  readonly #places: readonly {
    readonly at: readonly number[];
    readonly width: number;
    readonly valueOf: (index: number) => number;
  }[];
  readonly #writeTime: (target: Buffer, at: number, stamp: number) => void;

  constructor(encoding: Encoding, bytes: Buffer, places: readonly Place[]) {
    this.bytes = bytes;
    this.#versions = allOf(bytes, Buffer.from(VERSION_MARK));
    this.#stamps = allOf(bytes, Buffer.from(STAMP_MARK));
    this.#times = allOf(bytes, encoding === 'json' ? Buffer.from(TIME_MARK) : TIME_MARK_PROTOBUF);
    this.#writeTime = encoding === 'json' ? jsonTimeWriter() : writeProtobufTime;
    this.#places = places.map(({ mark, valueOf }) => ({
      at: allOf(bytes, Buffer.from(mark)),
      width: mark.length,
      valueOf,
    }));
  }

  patch(
    target: Buffer,
    start: number,
    { index, version, stamp }: { index: number; version: number; stamp: number },
  ): void {
    for (const at of this.#versions) writeLongDigits(target, start + at, VERSION_MARK.length, version);
    for (const at of this.#stamps) writeLongDigits(target, start + at, STAMP_MARK.length, stamp);
    for (const at of this.#times) this.#writeTime(target, start + at, stamp);
    for (const { at, width, valueOf } of this.#places) {
      const value = valueOf(index);
      for (const place of at) writeDigits(target, start + place, width, value);
    }
  }
}

function allOf(bytes: Buffer, mark: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + mark.length)) found.push(at);
  return found;
}

/** `bytes` over and over, by copies that double. */
function repeated(bytes: Buffer, count: number): Buffer {
  const total = bytes.length * count;
  const target = Buffer.allocUnsafeSlow(total);
  let filled = bytes.copy(target);
  for (; filled < total; filled *= 2) target.copyWithin(filled, 0, Math.min(filled, total - filled));
  return target;
}

/** Up to nine digits, so that everything stays a small integer. */
function writeDigits(target: Buffer, at: number, width: number, value: number): void {
  let rest = value | 0;
  for (let place = at + width - 1; place >= at; place -= 1) {
    const next = (rest / 10) | 0;
    target[place] = 0x30 + rest - next * 10;
    rest = next;
  }
}

function writeLongDigits(target: Buffer, at: number, width: number, value: number): void {
  const high = Math.floor(value / 100_000_000);
  writeDigits(target, at, width - 8, high);
  writeDigits(target, at + width - 8, 8, value - high * 100_000_000);
}

/** Writes MicroTimes as text; that of a second is the same for thousands of them. */
function jsonTimeWriter(): (target: Buffer, at: number, stamp: number) => void {
  let text = Buffer.alloc(0);
  let second = -1;
  return (target, at, stamp) => {
    const seconds = ORIGIN_SECONDS + Math.floor(stamp / MILLION);
    if (seconds !== second) {
      second = seconds;
      text = Buffer.from(`${new Date(seconds * 1000).toISOString().slice(0, 19)}.`);
    }
    text.copy(target, at);
    writeDigits(target, at + text.length, 6, stamp % MILLION);
  };
}

/** Seconds and nanoseconds as fields 1 and 2, each a varint of five bytes. */
function writeProtobufTime(target: Buffer, at: number, stamp: number): void {
  target[at] = 0x08;
  writeFiveByteVarint(target, at + 1, ORIGIN_SECONDS + Math.floor(stamp / MILLION));
  target[at + 6] = 0x10;
  writeFiveByteVarint(target, at + 7, (stamp % MILLION) * 1000);
}

function writeFiveByteVarint(target: Buffer, at: number, value: number): void {
  target[at] = (value & 0x7f) | 0x80;
  target[at + 1] = ((value >>> 7) & 0x7f) | 0x80;
  target[at + 2] = ((value >>> 14) & 0x7f) | 0x80;
  target[at + 3] = ((value >>> 21) & 0x7f) | 0x80;
  target[at + 4] = (value >>> 28) & 0x0f;
}

const TIME_MARK_PROTOBUF = Buffer.alloc(12);
writeProtobufTime(TIME_MARK_PROTOBUF, 0, (Date.parse(TIME_MARK) - Date.parse(TIME_ORIGIN)) * 1000 + 654);
