import type { Clock } from '@dogwatch/process/clock.ts';
import type { Position } from '@dogwatch/watch/watch-cache.ts';
import { type EnvelopeHeader, headerBytes, readHeader, writeHeader } from './envelope-header.ts';
import { changeColumns, objectColumns, readChanges, readObjects, versionRange } from './envelope-index.ts';
import type { Envelope } from './envelope.ts';
import { COMPRESS_FROM_BYTES, type MessageBody, composeMessage, readBody } from './message-body.ts';
import { Reassembler, joinParts, splitMessage } from './message-chunks.ts';
import { packFacts, unpackFacts } from './packed-facts.ts';
import { pack, unpack } from './packing.ts';
import {
  EnvelopeCorrupt,
  EnvelopeVersionUnsupported,
  MESSAGE_KINDS,
  type SealedMessage,
  orCorrupt,
  seal,
  unseal,
} from './sealed-message.ts';

const NOWHERE: Position = { rv: 0, index: 0 };
const NO_PLACE: Place = { previous: NOWHERE, firstRv: 0, lastRv: 0, watermark: 0, count: 0 };
const NO_BODY: MessageBody = { index: Buffer.alloc(0), pieces: [], payloadBytes: 0 };

export interface EncodeOptions {
  /** At most 65,535 bytes of UTF-8. */
  readonly track: string;
  /** Reign of the publisher that holds the track. */
  readonly term: number;
  /** Counted from 0 within (term, track). */
  readonly sequence: number;
  /** No part is longer: NATS max_payload. At least 1024. */
  readonly maxPayloadBytes: number;
  /** Envelopes of fewer bytes are not compressed; 4096 if absent. */
  readonly compressFromBytes?: number;
}

export interface Decoded {
  readonly envelope: Envelope;
  readonly track: string;
  readonly term: number;
  readonly sequence: number;
}

type Place = Pick<EnvelopeHeader, 'previous' | 'firstRv' | 'lastRv' | 'watermark' | 'count'>;

/** What of a message its envelope says. */
interface Content {
  readonly place: Place;
  readonly body: MessageBody;
}

/**
 * The messages that carry `envelope`, to be published in this order: one, or chunks if it is longer than a message may
 * be. Throws EnvelopeTooLarge above 1 GiB.
 */
export function encodeEnvelope(envelope: Envelope, options: EncodeOptions): Buffer[] {
  const { track, term, sequence, maxPayloadBytes, compressFromBytes = COMPRESS_FROM_BYTES } = options;
  const { place, body } = contentOf(envelope);
  const { message, flags } = composeMessage(headerBytes(track), body, compressFromBytes);
  const lengths = { indexBytes: body.index.length, payloadBytes: body.payloadBytes };
  writeHeader(message, { epoch: envelope.epoch, term, sequence, track, ...place, ...lengths });
  seal(message, MESSAGE_KINDS[envelope.kind], flags);
  return splitMessage(message, maxPayloadBytes);
}

function contentOf(envelope: Envelope): Content {
  switch (envelope.kind) {
    case 'listing': {
      const { rv, objects } = envelope.listing;
      const range = versionRange(objects);
      const pieces = objects.map(({ bytes }) => bytes);
      const payloadBytes = pieces.reduce((total, { length }) => total + length, 0);
      const index = pack([packFacts(envelope.facts), objectColumns(objects, range.firstRv)]);
      const place = { ...range, previous: NOWHERE, watermark: rv, count: objects.length };
      return { place, body: { index, pieces, payloadBytes } };
    }
    case 'batch': {
      const { previous, changes } = envelope.batch;
      const objects = changes.map(({ object }) => object);
      const range = versionRange(objects);
      const { columns, pieces, payloadBytes } = changeColumns(changes);
      const index = pack([objectColumns(objects, range.firstRv), columns]);
      const place = { ...range, previous, watermark: objects.at(-1)?.rv ?? 0, count: changes.length };
      return { place, body: { index, pieces, payloadBytes } };
    }
    case 'listed':
      return { place: { ...NO_PLACE, watermark: envelope.rv }, body: NO_BODY };
    case 'watermark':
      return { place: { ...NO_PLACE, previous: envelope.previous, watermark: envelope.rv }, body: NO_BODY };
    case 'end':
      return { place: NO_PLACE, body: { ...NO_BODY, index: pack(envelope.end) } };
  }
}

/** The envelope in `parts`, which are all that carry it. Throws EnvelopeCorrupt, EnvelopeVersionUnsupported. */
export function decodeEnvelope(parts: readonly Buffer[]): Decoded {
  const sealed = joinParts(parts, Number.POSITIVE_INFINITY);
  if (sealed === undefined) throw new EnvelopeCorrupt('all chunks of an envelope');
  return decode(sealed);
}

/**
 * Reads what encodeEnvelope made, in any order, of any tracks. Incomplete envelopes are held up to `maxPendingBytes`,
 * 64 envelopes and 30 s after their last chunk.
 */
export class EnvelopeReader {
  readonly #chunks: Reassembler;

  constructor(options: { readonly clock: Pick<Clock, 'now'>; readonly maxPendingBytes: number }) {
    this.#chunks = new Reassembler(options);
  }

  /** Envelopes given up before they were complete. */
  get dropped(): number {
    return this.#chunks.dropped;
  }

  /**
   * The envelope that `part` completes, if it does. Nothing of `part` is kept: it may be a view of a buffer that is
   * used again. Throws EnvelopeCorrupt, EnvelopeVersionUnsupported and, if more than `maxPendingBytes` would have to
   * be held, EnvelopeTooLarge; what else is pending is not touched by it.
   */
  read(part: Buffer): Decoded | undefined {
    this.#chunks.sweep();
    const sealed = unseal(part);
    const whole = sealed.kind === MESSAGE_KINDS.chunk ? this.#chunks.add(sealed) : sealed;
    return whole === undefined ? undefined : decode(whole);
  }
}

/** By format version. That of version N stays as it is when N + 1 is written, and goes with N + 2. */
const DECODERS: ReadonlyMap<number, (message: SealedMessage) => Decoded> = new Map([[1, decodeVersion1]]);

function decode(message: SealedMessage): Decoded {
  const decoder = DECODERS.get(message.version);
  if (decoder === undefined) throw new EnvelopeVersionUnsupported(message.version);
  return orCorrupt('an envelope', () => decoder(message));
}

function decodeVersion1(message: SealedMessage): Decoded {
  const { header, end } = readHeader(message.bytes);
  const { indexBytes, payloadBytes, track, term, sequence } = header;
  const body = readBody(message, end, indexBytes + payloadBytes);
  return { envelope: envelopeOf(message.kind, header, body), track, term, sequence };
}

function envelopeOf(kind: number, header: EnvelopeHeader, body: Buffer): Envelope {
  const { epoch, previous, watermark, count, firstRv, indexBytes } = header;
  const payload = body.subarray(indexBytes);
  const index = indexBytes === 0 ? undefined : unpack(body.subarray(0, indexBytes));
  switch (kind) {
    case MESSAGE_KINDS.listing: {
      const [facts, columns] = index as [Buffer, unknown];
      const objects = readObjects(columns, count, firstRv, payload);
      return { kind: 'listing', epoch, facts: unpackFacts(facts), listing: { rv: watermark, objects } };
    }
    case MESSAGE_KINDS.batch: {
      const [objects, columns] = index as [unknown, unknown];
      const changes = readChanges({ objects, changes: columns }, header, payload);
      return { kind: 'batch', epoch, batch: { previous, changes } };
    }
    case MESSAGE_KINDS.listed:
      return { kind: 'listed', epoch, rv: watermark };
    case MESSAGE_KINDS.watermark:
      return { kind: 'watermark', epoch, previous, rv: watermark };
    case MESSAGE_KINDS.end:
      if (index !== 'expired' && index !== 'ended') throw new EnvelopeCorrupt('the end of a lane');
      return { kind: 'end', epoch, end: index };
    default:
      throw new EnvelopeCorrupt('an envelope');
  }
}
