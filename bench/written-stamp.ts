import { FieldReader, stringField } from '@dogwatch/kube/proto-wire.ts';
import { openUnknown } from '@dogwatch/kube/runtime-unknown.ts';
import { TIME_ORIGIN } from './simulated-template.ts';

/** The annotation in which writers say when an event was due, in microseconds of `monotonicMicros`. */
export const WRITTEN_ANNOTATION = 'dogwatch-bench/written';

const MARKER = Buffer.from(`"${WRITTEN_ANNOTATION}":"`);
const RESOURCE_VERSION = Buffer.from('"resourceVersion":"');
const QUOTE = 0x22;
/** Of the value in an entry of a map in protobuf: field 2, length-delimited. Its length is one byte. */
const VALUE_TAG = 0x12;
const ORIGIN_SECONDS = Date.parse(TIME_ORIGIN) / 1000;

/** One clock for all processes of this machine: the kernel's monotonic clock, in microseconds. */
export function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** The stamp in an object's bytes at or after `from`, or undefined. */
export function readStamp(bytes: Buffer, from: number, to: number): number | undefined {
  const at = bytes.indexOf(MARKER, from);
  if (at < 0 || at >= to) return undefined;
  return readDigits(bytes, at + MARKER.length);
}

/** The object's resourceVersion: the first in its bytes, as it stands before labels and annotations. */
export function readResourceVersion(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(RESOURCE_VERSION, from);
  return at < 0 ? 0 : readDigits(bytes, at + RESOURCE_VERSION.length);
}

const PROTOBUF_MARKER = Buffer.concat([stringField(1, WRITTEN_ANNOTATION), Buffer.from([VALUE_TAG])]);

/**
 * The stamp in the bytes of an object in protobuf, or undefined. A lease has it as its renewTime, microseconds after
 * `TIME_ORIGIN`; anything else in the annotation.
 */
export function readProtobufStamp(object: Buffer): number | undefined {
  const { kind, rawStart, rawEnd } = openUnknown(object);
  if (kind === 'Lease') return readRenewTime(new FieldReader(object, rawStart, rawEnd));
  const at = object.indexOf(PROTOBUF_MARKER);
  return at < 0 ? undefined : readDigits(object, at + PROTOBUF_MARKER.length + 1);
}

/** Fields of coordination.v1.Lease and LeaseSpec, and of metav1.MicroTime. */
const [SPEC, RENEW_TIME, SECONDS, NANOS] = [2, 4, 1, 2];

function readRenewTime(lease: FieldReader): number | undefined {
  const time = fieldOf(fieldOf(lease, SPEC), RENEW_TIME);
  if (time === undefined) return undefined;
  let micros = -ORIGIN_SECONDS * 1_000_000;
  while (time.next()) {
    if (time.field === SECONDS) micros += Number(time.int()) * 1_000_000;
    else if (time.field === NANOS) micros += Number(time.int()) / 1_000;
  }
  return micros;
}

/** The message that is field `number`, if it is there. */
function fieldOf(message: FieldReader | undefined, number: number): FieldReader | undefined {
  while (message?.next() === true) if (message.field === number) return message.message();
  return undefined;
}

function readDigits(bytes: Buffer, from: number): number {
  let value = 0;
  for (let index = from; index < bytes.length; index += 1) {
    const digit = (bytes[index] ?? QUOTE) - 0x30;
    if (digit < 0 || digit > 9) return value;
    value = value * 10 + digit;
  }
  return value;
}

/** A frame with `bytes` at another version and stamp between `head` and the line's end: copies, no parsing. */
export function restampedFrame(options: {
  head: Buffer;
  bytes: Buffer;
  resourceVersion: number;
  written: number;
}): Buffer {
  const { head, bytes } = options;
  const version = String(options.resourceVersion);
  const written = String(options.written);
  const versionStart = bytes.indexOf(RESOURCE_VERSION) + RESOURCE_VERSION.length;
  const versionEnd = bytes.indexOf(QUOTE, versionStart);
  const stampStart = bytes.indexOf(MARKER, versionEnd) + MARKER.length;
  const stampEnd = bytes.indexOf(QUOTE, stampStart);
  const middle = stampStart - versionEnd;
  const rest = bytes.length - stampEnd;
  const frame = Buffer.allocUnsafe(head.length + versionStart + version.length + middle + written.length + rest + 2);
  let at = head.copy(frame, 0);
  at += bytes.copy(frame, at, 0, versionStart);
  at += frame.write(version, at, 'latin1');
  at += bytes.copy(frame, at, versionEnd, stampStart);
  at += frame.write(written, at, 'latin1');
  at += bytes.copy(frame, at, stampEnd);
  frame[at] = 0x7d;
  frame[at + 1] = 0x0a;
  return frame;
}
