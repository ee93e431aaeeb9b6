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

const REQUEST_KINDS: readonly LaneRequestKind[] = [
  'open',
  'close',
  'repair',
  'fence',
  'backfill',
  'sync',
  'unlink',
  'status',
];
/** A request's head: seal, then the length of its body before compression. */
const REQUEST_HEAD_BYTES = SEAL_BYTES + 4;
/** A reply's head: seal, then the lengths of its index and payload before compression. */
const REPLY_HEAD_BYTES = SEAL_BYTES + 8;
/** Bytes of a reply as it travels; the largest, a backfill, holds what upstream keeps of one resource. */
const REPLY_BYTES_MAX = 2 ** 29;

/** A request of any kind. */
export type DecodedRequest = {
  [K in LaneRequestKind]: { readonly kind: K; readonly request: LaneRequests[K]['request'] };
}[LaneRequestKind];

/** Kinds whose answer is one message, perhaps in chunks. That of `sync` comes in pages; only its rejection is one. */
export type RepliedKind = Exclude<LaneRequestKind, 'sync'>;

/** What a server answers with: its reply, or what it rejected with. */
export type Outcome<K extends LaneRequestKind> =
  | (K extends RepliedKind ? { readonly reply: LaneRequests[K]['reply'] } : never)
  | { readonly error: unknown };

type PackedLane = readonly [string, string, string, Lane['encoding'], Lane['view']];
type PackedInventory = readonly [
  rv: ResourceVersion,
  keys: readonly string[],
  uids: readonly string[],
  rvs: readonly ResourceVersion[],
  more?: true,
];

/** One message, of a few hundred bytes but for one that names many objects. Throws EnvelopeTooLarge above 1 GiB. */
export function encodeRequest<K extends LaneRequestKind>(kind: K, request: LaneRequests[K]['request']): Buffer {
  const { lane, ...rest }: { readonly lane?: Lane } = request;
  const body = indexOnly([kind, lane === undefined ? undefined : packLane(lane), rest]);
  const { message, flags } = composeMessage(REQUEST_HEAD_BYTES, body, COMPRESS_FROM_BYTES);
  message.writeUInt32BE(body.index.length, SEAL_BYTES);
  return seal(message, MESSAGE_KINDS.request, flags);
}

/** The request in a message. Throws EnvelopeCorrupt, EnvelopeVersionUnsupported. */
export function decodeRequest(message: Buffer): DecodedRequest {
  const sealed = unseal(message);
  if (sealed.kind !== MESSAGE_KINDS.request) throw new EnvelopeCorrupt('a request');
  return orCorrupt('a request', () => {
    const body = readBody(sealed, REQUEST_HEAD_BYTES, message.readUInt32BE(SEAL_BYTES));
    const [kind, lane, rest] = unpack(body) as [LaneRequestKind, PackedLane?, object?];
    if (!REQUEST_KINDS.includes(kind)) throw new EnvelopeCorrupt('a request of a known kind');
    if ((lane === undefined) !== (kind === 'status')) throw new EnvelopeCorrupt('a lane where its kind asks for one');
    return { kind, request: lane === undefined ? rest : { lane: unpackLane(lane), ...rest } } as DecodedRequest;
  });
}

function packLane({ group, version, resource, encoding, view }: Lane): PackedLane {
  return [group, version, resource, encoding, view];
}

function unpackLane([group, version, resource, encoding, view]: PackedLane): Lane {
  return { group, version, resource, encoding, view };
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
  const body =
    'error' in outcome
      ? indexOnly([kind, statusOf(outcome.error)])
      : replyBody(kind as RepliedKind, outcome.reply as LaneRequests[RepliedKind]['reply']);
  const { message, flags } = composeMessage(REPLY_HEAD_BYTES, body, COMPRESS_FROM_BYTES);
  message.writeUInt32BE(body.index.length, SEAL_BYTES);
  message.writeUInt32BE(body.payloadBytes, SEAL_BYTES + 4);
  seal(message, MESSAGE_KINDS.reply, flags);
  return splitMessage(message, options.maxPayloadBytes);
}

/** How the reply of a kind travels: a value in the index, and bytes it tells of. */
interface ReplyForm<K extends RepliedKind> {
  pack(reply: LaneRequests[K]['reply']): { readonly value: unknown } & Partial<Omit<MessageBody, 'index'>>;
  unpack(value: unknown, payload: Buffer): LaneRequests[K]['reply'];
}

const NOTHING = { pack: () => ({ value: undefined }), unpack: () => undefined };

const REPLY_FORMS: { readonly [K in RepliedKind]: ReplyForm<K> } = {
  open: {
    pack: ({ partitions }) => ({ value: partitions }),
    unpack(value) {
      if (!Number.isSafeInteger(value)) throw new EnvelopeCorrupt('a number of partitions');
      return { partitions: value as number };
    },
  },
  close: NOTHING,
  repair: NOTHING,
  unlink: NOTHING,
  fence: {
    pack: ({ rv, inventory }) => ({ value: [rv, inventory === undefined ? undefined : packInventory(inventory)] }),
    unpack(value) {
      const [rv, inventory] = value as [ResourceVersion, PackedInventory | undefined];
      return { rv, inventory: inventory === undefined ? undefined : unpackInventory(inventory) };
    },
  },
  backfill: {
    pack(changes) {
      if (changes === undefined) return { value: undefined };
      const objects = changes.map(({ object }) => object);
      const { firstRv } = versionRange(objects);
      const { columns, pieces, payloadBytes } = changeColumns(changes);
      return { value: [changes.length, firstRv, objectColumns(objects, firstRv), columns], pieces, payloadBytes };
    },
    unpack(value, payload) {
      if (value === undefined) return undefined;
      const [count, firstRv, objects, changes] = value as [number, ResourceVersion, unknown, unknown];
      return readChanges({ objects, changes }, { count, firstRv }, payload);
    },
  },
  status: {
    pack: (value) => ({ value }),
    unpack(value) {
      if (typeof value !== 'object' || value === null) throw new EnvelopeCorrupt('what a process says of itself');
      return value as LaneRequests['status']['reply'];
    },
  },
};

function replyBody<K extends RepliedKind>(kind: K, reply: LaneRequests[K]['reply']): MessageBody {
  const { value, pieces = [], payloadBytes = 0 } = REPLY_FORMS[kind].pack(reply);
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
  return orCorrupt('a reply', () => {
    const outcome = outcomeIn(kind, sealed);
    if ('status' in outcome) throw new StatusError(outcome.status);
    return outcome;
  });
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
  if (kind === 'sync') throw new EnvelopeCorrupt('a rejection');
  return { reply: REPLY_FORMS[kind as RepliedKind].unpack(value, body.subarray(indexBytes)) };
}

function packInventory({ rv, objects, more }: LaneInventory): PackedInventory {
  const held = [...objects.values()];
  const columns = [rv, [...objects.keys()], held.map(({ uid }) => uid), held.map((object) => object.rv)] as const;
  return more === true ? [...columns, more] : columns;
}

function unpackInventory([rv, keys, uids, rvs, more]: PackedInventory): LaneInventory {
  const entries = keys.map((key, i) => [key, { uid: uids[i] as string, rv: rvs[i] as ResourceVersion }] as const);
  return { rv, objects: new Map(entries), ...(more === true ? { more } : {}) };
}
