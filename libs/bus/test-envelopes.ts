// Envelopes for tests, of what kube-apiserver sent and of what it never would.
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { type KubeObject, type ObjectSchema, kubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import { selectableFields } from '@dogwatch/kube/selectable-fields.ts';
import { parseWatchFrame } from '@dogwatch/kube/watch-event.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { type Change, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import type { Envelope } from './envelope.ts';
import type { TrackState } from './track-state.ts';

const PODS = { group: '', version: 'v1', resource: 'pods' };

export function podSchema(encoding: Encoding): ObjectSchema {
  return { encoding, fields: selectableFields(PODS, true), indexedField: 'spec.nodeName' };
}

export function podFacts(encoding: Encoding): LaneFacts {
  return {
    schema: podSchema(encoding),
    kind: 'Pod',
    apiVersion: 'v1',
    listKind: 'PodList',
    layout: 'typed',
    bookmark: Buffer.from('{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"}}'),
    warnings: ['299 - "v1 Pod is fine"'],
  };
}

/** The change in `frame`, as the reflector keeps it: one allocation, of which the object is a view. */
export function changeOf(schema: ObjectSchema, frame: Buffer): Change | undefined {
  const own = ownCopy(frame);
  const { type, object } = parseWatchFrame(schema.encoding, own);
  if (type === 'BOOKMARK' || type === 'ERROR') return undefined;
  return { type, object: kubeObject(schema, object), frame: own };
}

/** The changes kube-apiserver 1.37.2 sent on a watch. */
export function recordedChanges(resource: 'pods' | 'leases', encoding: Encoding): Change[] {
  const file = new URL(`../kube/testdata/${resource}-watch-${encoding}.raw`, import.meta.url);
  const schema: ObjectSchema =
    resource === 'pods' ? podSchema(encoding) : { ...podSchema(encoding), indexedField: undefined };
  const changes: Change[] = [];
  createFrameScanner(encoding).push(readFileSync(file), (frame) => {
    const change = changeOf(schema, frame);
    if (change !== undefined) changes.push(change);
  });
  return changes;
}

/** The code of the error `read` throws, "" if it throws none. Other errors are given on. */
export function codeOf(read: () => unknown): string {
  try {
    read();
    return '';
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}

/** Bytes that no compression makes shorter. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at < length; at++) {
    state = Math.imul(state, 0x0019660d) + 0x3c6ef35f;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Text that does not compress, the same for the same seed. */
export function noiseText(length: number, seed: number): string {
  const bytes = Buffer.alloc(Math.ceil((length * 3) / 4));
  let state = seed + 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes.toString('base64').slice(0, length);
}

/** `message` with its checksum made to fit, whatever else was done to it. */
export function resealed(message: Buffer): Buffer {
  message.writeUInt32BE(crc32(message.subarray(12), crc32(message.subarray(0, 8))), 8);
  return message;
}

const text = fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme', maxLength: 40 }), fc.uuid());
const version = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(1000),
  fc.constantFrom(2 ** 32 - 1, 2 ** 32, 2 ** 33 + 1, Number.MAX_SAFE_INTEGER),
);
const position = fc.record({ rv: version, index: fc.oneof(fc.nat(1000), fc.constant(WHOLE_VERSION)) });
const bytes = fc.uint8Array({ maxLength: 2000 }).map((array) => Buffer.from(array));

const object: fc.Arbitrary<KubeObject> = fc
  .record({ namespace: text, name: text, uid: text, rv: version, bytes, indexed: text })
  .map(({ namespace, name, uid, rv, ...rest }) => {
    const key = namespace === '' ? name : `${namespace}/${name}`;
    return { key, namespace, name, uid, rv, ...rest };
  });

/** Frames that hold their object, and some that do not. */
const change: fc.Arbitrary<Change> = fc
  .record({
    type: fc.constantFrom('ADDED', 'MODIFIED', 'DELETED'),
    object,
    head: bytes,
    tail: bytes,
    apart: fc.boolean(),
  })
  .map(({ type, object: whole, head, tail, apart }) => {
    const frame = Buffer.concat([head, whole.bytes, tail]);
    const inside = frame.subarray(head.length, head.length + whole.bytes.length);
    return { type, object: { ...whole, bytes: apart ? whole.bytes : inside }, frame };
  });

export const anyChanges = fc.array(change, { maxLength: 40 });

const facts: fc.Arbitrary<LaneFacts> = fc.record({
  schema: fc.constantFrom('json' as const, 'protobuf' as const).map(podSchema),
  kind: text,
  apiVersion: text,
  listKind: text,
  layout: fc.constantFrom('typed', 'unstructured'),
  bookmark: fc.option(bytes, { nil: undefined }),
  warnings: fc.array(text, { maxLength: 3 }),
});

const listing = fc.record({ rv: version, objects: fc.array(object, { maxLength: 40 }) });

export const anyEnvelope: fc.Arbitrary<Envelope> = fc.oneof(
  fc.record({
    kind: fc.constant('listing'),
    epoch: version,
    facts,
    listing,
  }),
  fc.record({
    kind: fc.constant('batch'),
    epoch: version,
    batch: fc.record({ previous: position, changes: anyChanges }),
  }),
  fc.record({ kind: fc.constant('listed'), epoch: version, rv: version }),
  fc.record({ kind: fc.constant('watermark'), epoch: version, previous: position, rv: version }),
  fc.record({ kind: fc.constant('end'), epoch: version, end: fc.constantFrom('expired', 'ended') }),
);

const place = { epoch: version, changes: anyChanges, position, watermark: version };

export const anyTrackState: fc.Arbitrary<TrackState> = fc.oneof(
  fc.record({ kind: fc.constant('changes'), ...place }),
  fc.record({
    kind: fc.constant('state'),
    ...place,
    facts,
    listing,
    tombstones: fc.array(fc.record({ object, born: version }), { maxLength: 10 }),
    horizon: version,
  }),
);
