import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { type StatusBody, StatusError, internalError } from '@dogwatch/kube/status.ts';
import type { LaneInventory, LaneRequestKind, LaneRequests } from './bus.ts';
import { changeColumns, objectColumns, readChanges, versionRange } from './envelope-index.ts';
import { COMPRESS_FROM_BYTES, type MessageBody, composeMessage, readBody } from './message-body.ts';
import { joinParts, splitMessage } from './message-chunks.ts';
import { pack, unpack } from './packing.ts';
import {
  EnvelopeCorrupt,
  MESSAGE_KINDS,
  SEAL_BYTES,
  type SealedMessage,
  orCorrupt,
  seal,
  unseal,
} from './sealed-message.ts';

const REQUEST_KINDS: readonly LaneRequestKind[] = ['open', 'close', 'repair', 'fence', 'backfill', 'sync', 'status'];
/** A reply's head: seal, then the lengths of its index and payload before compression. */
const REPLY_HEAD_BYTES = SEAL_BYTES + 8;
/** Bytes of a reply as it travels; the largest, a backfill, holds what upstream keeps of one resource. */
const REPLY_BYTES_MAX = 2 ** 29;

/** A request of any kind. */
export type DecodedRequest = {
  [K in LaneRequestKind]: { readonly kind: K; readonly request: LaneRequests[K]['request'] };
}[LaneRequestKind];

/** What a server answers with: its reply, or what it rejected with. */
export type Outcome<K extends LaneRequestKind> =
  | { readonly reply: LaneRequests[K]['reply'] }
  | { readonly error: unknown };

type PackedLane = readonly [string, string, string, Lane['encoding'], Lane['view']];
type PackedInventory = readonly [ResourceVersion, readonly string[], readonly string[], readonly ResourceVersion[]];

/** One message, of a few hundred bytes. */
export function encodeRequest<K extends LaneRequestKind>(kind: K, request: LaneRequests[K]['request']): Buffer {
  const { lane, ...rest } = request;
  const { group, version, resource, encoding, view } = lane;
  const body = pack([kind, [group, version, resource, encoding, view] satisfies PackedLane, rest]);
  return seal(Buffer.concat([Buffer.alloc(SEAL_BYTES), body]), MESSAGE_KINDS.request, 0);
}

/** The request in a message. Throws EnvelopeCorrupt, EnvelopeVersionUnsupported. */
export function decodeRequest(message: Buffer): DecodedRequest {
  const sealed = unseal(message);
  if (sealed.kind !== MESSAGE_KINDS.request) throw new EnvelopeCorrupt('a request');
  return orCorrupt('a request', () => {
    const [kind, packedLane, rest] = unpack(message.subarray(SEAL_BYTES)) as [LaneRequestKind, PackedLane, object];
    if (!REQUEST_KINDS.includes(kind)) throw new EnvelopeCorrupt('a request of a known kind');
    const [group, version, resource, encoding, view] = packedLane;
    return { kind, request: { lane: { group, version, resource, encoding, view }, ...rest } } as DecodedRequest;
  });
}

/**
 * The messages of an answer, to be sent in this order. A StatusError travels as its status, any other error as the
 * status of an internal error with its message. Throws EnvelopeTooLarge above 1 GiB.
 */
export function encodeReply<K extends LaneRequestKind>(
  kind: K,
  outcome: Outcome<K>,
  options: { readonly maxPayloadBytes: number },
): Buffer[] {
  const body = 'error' in outcome ? indexOnly([kind, statusOf(outcome.error)]) : replyBody(kind, outcome.reply);
  const { message, flags } = composeMessage(REPLY_HEAD_BYTES, body, COMPRESS_FROM_BYTES);
  message.writeUInt32BE(body.index.length, SEAL_BYTES);
  message.writeUInt32BE(body.payloadBytes, SEAL_BYTES + 4);
  seal(message, MESSAGE_KINDS.reply, flags);
  return splitMessage(message, options.maxPayloadBytes);
}

function replyBody<K extends LaneRequestKind>(kind: K, reply: LaneRequests[K]['reply']): MessageBody {
  if (reply === undefined) return indexOnly([kind, undefined, undefined]);
  if ('rv' in reply) {
    const { rv, inventory } = reply;
    return indexOnly([kind, undefined, [rv, inventory === undefined ? undefined : packInventory(inventory)]]);
  }
  const objects = reply.map(({ object }) => object);
  const { firstRv } = versionRange(objects);
  const { columns, pieces, payloadBytes } = changeColumns(reply);
  const value = [reply.length, firstRv, objectColumns(objects, firstRv), columns];
  return { index: pack([kind, undefined, value]), pieces, payloadBytes };
}

function indexOnly(index: unknown): MessageBody {
  return { index: pack(index), pieces: [], payloadBytes: 0 };
}

function statusOf(error: unknown): StatusBody {
  if (error instanceof StatusError) return error.status;
  return internalError(error instanceof Error ? error.message : String(error));
}

/**
 * The reply in `parts`, all messages that came so far for one request; undefined while some are missing.
 * Throws StatusError if the server rejected, and EnvelopeCorrupt, EnvelopeVersionUnsupported or EnvelopeTooLarge.
 */
export function decodeReply<K extends LaneRequestKind>(
  kind: K,
  parts: readonly Buffer[],
): { readonly reply: LaneRequests[K]['reply'] } | undefined {
  const sealed = joinParts(parts, REPLY_BYTES_MAX);
  if (sealed === undefined) return undefined;
  if (sealed.kind !== MESSAGE_KINDS.reply) throw new EnvelopeCorrupt('a reply');
  const outcome = orCorrupt('a reply', () => outcomeIn(kind, sealed));
  if ('status' in outcome) throw new StatusError(outcome.status);
  return outcome;
}

function outcomeIn<K extends LaneRequestKind>(
  kind: K,
  sealed: SealedMessage,
): { readonly reply: LaneRequests[K]['reply'] } | { readonly status: StatusBody } {
  const [indexBytes, payloadBytes] = [sealed.bytes.readUInt32BE(SEAL_BYTES), sealed.bytes.readUInt32BE(SEAL_BYTES + 4)];
  const body = readBody(sealed, REPLY_HEAD_BYTES, indexBytes + payloadBytes);
  const [answered, status, value] = unpack(body.subarray(0, indexBytes)) as [K, StatusBody | undefined, unknown];
  if (answered !== kind) throw new EnvelopeCorrupt(`a reply to "${kind}"`);
  if (status !== undefined) return { status };
  return { reply: replyIn(kind, value, body.subarray(indexBytes)) as LaneRequests[K]['reply'] };
}

function replyIn(kind: LaneRequestKind, value: unknown, payload: Buffer): LaneRequests[LaneRequestKind]['reply'] {
  if (value === undefined) return undefined;
  if (kind === 'fence') {
    const [rv, inventory] = value as [ResourceVersion, PackedInventory | undefined];
    return { rv, inventory: inventory === undefined ? undefined : unpackInventory(inventory) };
  }
  const [count, firstRv, objects, changes] = value as [number, ResourceVersion, unknown, unknown];
  return readChanges({ objects, changes }, { count, firstRv }, payload);
}

function packInventory({ rv, objects }: LaneInventory): PackedInventory {
  const held = [...objects.values()];
  return [rv, [...objects.keys()], held.map(({ uid }) => uid), held.map((object) => object.rv)];
}

function unpackInventory([rv, keys, uids, rvs]: PackedInventory): LaneInventory {
  const entries = keys.map((key, i) => [key, { uid: uids[i] as string, rv: rvs[i] as ResourceVersion }] as const);
  return { rv, objects: new Map(entries) };
}
