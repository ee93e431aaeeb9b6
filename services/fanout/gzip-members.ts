import { constants, crc32, deflateRawSync } from 'node:zlib';
import type { ClientStream } from './exchange.ts';

/** What is smaller is not compressed for one watcher alone: setting zlib up costs more than writing it. */
const ALONE_BYTES_MIN = 4 * 1024;
/** Members remembered for others who are sent the same: about what is written to the streams of one group at a time. */
const REMEMBERED_MAX = 64;
const REMEMBERED_BYTES_MAX = 1024 * 1024;

/** As Go writes it: deflate, no name and time, fastest, unknown system. */
const HEAD = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff]);
/** Begins a block that is stored, and not the last. */
const STORED = Buffer.from([0]);
const EMPTY_BLOCK = [0, 0, 0xff, 0xff];
/**
 * Two empty blocks end a member, as upstream's flush and close do: Go gives out what it has read at the first; had the
 * last block anything in it, that would wait for the next member.
 */
const FLUSH = Buffer.from([0, ...EMPTY_BLOCK]);
const LAST = Buffer.from([1, ...EMPTY_BLOCK]);

/**
 * What is written to streams of gzip (protocol row N6), each write a member by itself, so that everything is out at
 * once and nothing of zlib is kept for a stream. What many are sent is compressed once; what only one is sent and is
 * small goes out in a member that is not compressed.
 */
export class GzipMembers {
  /** In the order first seen; undefined for what was seen once and not compressed. */
  readonly #remembered = new Map<Buffer, Buffer | undefined>();
  #bytes = 0;

  /** `bytes`, which must not change, as a gzip member. */
  of(bytes: Buffer): Buffer {
    const known = this.#remembered.get(bytes);
    if (known !== undefined) return known;
    if (bytes.length < ALONE_BYTES_MIN && !this.#remembered.has(bytes)) {
      this.#remember(bytes, undefined);
      return stored(bytes);
    }
    const member = compressed(bytes);
    this.#remember(bytes, member);
    return member;
  }

  #remember(bytes: Buffer, member: Buffer | undefined): void {
    this.#forget(bytes);
    this.#remembered.set(bytes, member);
    this.#bytes += bytes.length + (member?.length ?? 0);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= REMEMBERED_MAX && this.#bytes <= REMEMBERED_BYTES_MAX) return;
      this.#forget(oldest);
    }
  }

  #forget(bytes: Buffer): void {
    const member = this.#remembered.get(bytes);
    if (this.#remembered.delete(bytes)) this.#bytes -= bytes.length + (member?.length ?? 0);
  }
}

function stored(bytes: Buffer): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt16LE(bytes.length, 0);
  length.writeUInt16LE(bytes.length ^ 0xffff, 2);
  return Buffer.concat([HEAD, STORED, length, bytes, FLUSH, LAST, trailer(bytes)]);
}

function compressed(bytes: Buffer): Buffer {
  const { Z_BEST_SPEED: level, Z_SYNC_FLUSH: finishFlush } = constants;
  return Buffer.concat([HEAD, deflateRawSync(bytes, { level, finishFlush }), LAST, trailer(bytes)]);
}

function trailer(bytes: Buffer): Buffer {
  const trailing = Buffer.allocUnsafe(8);
  trailing.writeUInt32LE(crc32(bytes), 0);
  trailing.writeUInt32LE(bytes.length, 4);
  return trailing;
}

/** `client` with everything written to it in gzip members. */
export function gzipStream(client: ClientStream, members: GzipMembers): ClientStream {
  return {
    write: (bytes) => client.write(members.of(bytes)),
    end: () => client.end(),
    abort: () => client.abort(),
    listen: (handlers) => client.listen(handlers),
  };
}
