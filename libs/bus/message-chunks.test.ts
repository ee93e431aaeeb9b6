import { describe, expect, test } from 'vitest';
import { Reassembler, joinParts, splitMessage } from './message-chunks.ts';
import { MESSAGE_KINDS, SEAL_BYTES, seal, unseal } from './sealed-message.ts';
import { noise, resealed } from './test-envelopes.ts';

const MAX_PAYLOAD = 1024;

/** A message of `length` bytes that differs from others of another `mark`. */
function message(length: number, mark = 0): Buffer {
  const bytes = noise(length);
  bytes.writeUInt32BE(mark, SEAL_BYTES);
  return seal(bytes, MESSAGE_KINDS.end, 0);
}

function setUp(maxPendingBytes = 100_000): {
  chunks: Reassembler;
  clock: { now(): number; ms: number };
  add: (part: Buffer) => Buffer | undefined;
} {
  const clock = { ms: 0, now: () => clock.ms };
  const chunks = new Reassembler({ clock, maxPendingBytes });
  return { chunks, clock, add: (part) => chunks.add(unseal(part))?.bytes };
}

describe('splitMessage', () => {
  test('leaves alone what fits, and cuts what does not into equal parts that do', () => {
    expect(splitMessage(message(MAX_PAYLOAD), MAX_PAYLOAD)).toEqual([message(MAX_PAYLOAD)]);
    for (const length of [1025, 1992, 1993, 10_000, 99_999]) {
      const parts = splitMessage(message(length), MAX_PAYLOAD);
      const lengths = parts.map((part) => part.length);
      expect(Math.max(...lengths)).toBeLessThanOrEqual(MAX_PAYLOAD);
      expect(new Set(lengths.slice(0, -1)).size).toBe(1);
      expect(joinParts(parts, length)?.bytes.equals(message(length))).toBe(true);
    }
  });
});

describe('Reassembler', () => {
  test('puts chunks of several messages together, in any order, some of them twice', () => {
    const { chunks, add } = setUp();
    const [first, second] = [message(5000, 1), message(5000, 2)];
    const [a, b] = [splitMessage(first, MAX_PAYLOAD), splitMessage(second, MAX_PAYLOAD).toReversed()];
    const mixed = a.flatMap((part, i) => [part, b[i] ?? part, part]);
    const done = mixed.map(add).filter((whole) => whole !== undefined);
    expect(done).toEqual([first, second]);
    expect(chunks.dropped).toBe(0);
  });

  test('goes on with a message that is sent again', () => {
    const { add } = setUp();
    const parts = splitMessage(message(5000), MAX_PAYLOAD);
    const lossy = parts.filter((_, i) => i !== 2);
    expect(lossy.map(add).every((whole) => whole === undefined)).toBe(true);
    expect(parts.map(add).filter((whole) => whole !== undefined)).toEqual([message(5000)]);
  });

  test('holds no more bytes than it may: what waited longest for its next chunk is dropped', () => {
    const { chunks, add } = setUp(12_000);
    const [a, b, c] = [1, 2, 3].map((mark) => splitMessage(message(5000, mark), MAX_PAYLOAD)) as [
      Buffer[],
      Buffer[],
      Buffer[],
    ];
    add(a[0] as Buffer);
    add(b[0] as Buffer);
    add(a[1] as Buffer);
    add(c[0] as Buffer);
    expect(chunks.pendingBytes).toBe(10_000);
    expect(chunks.dropped).toBe(1);
    expect(a.slice(2).map(add).at(-1)).toEqual(message(5000, 1));
    expect(b.slice(1).map(add).at(-1)).toBeUndefined();
  });

  test('holds no more than 64 messages', () => {
    const { chunks, add } = setUp();
    for (let mark = 0; mark < 65; mark++) add(splitMessage(message(1100, mark), MAX_PAYLOAD)[0] as Buffer);
    expect(chunks.dropped).toBe(1);
    expect(chunks.pendingBytes).toBe(64 * 1100);
  });

  test('drops what had no further chunk for 30 s', () => {
    const { chunks, clock, add } = setUp();
    const parts = splitMessage(message(5000), MAX_PAYLOAD);
    add(parts[0] as Buffer);
    clock.ms = 20_000;
    add(parts[1] as Buffer);
    clock.ms = 50_000;
    chunks.sweep();
    expect(chunks.dropped).toBe(0);
    add(parts[1] as Buffer);
    clock.ms = 50_001;
    chunks.sweep();
    expect(chunks.dropped).toBe(1);
    expect(chunks.pendingBytes).toBe(0);
  });

  test('refuses a message that is longer than all it may hold, and keeps what it has', () => {
    const { chunks, add } = setUp(5000);
    const parts = splitMessage(message(5000), MAX_PAYLOAD);
    add(parts[0] as Buffer);
    expect(() => add(splitMessage(message(5001), MAX_PAYLOAD)[0] as Buffer)).toThrow(
      expect.objectContaining({ code: 'EnvelopeTooLarge' }),
    );
    expect(chunks.pendingBytes).toBe(5000);
    expect(parts.slice(1).map(add).at(-1)).toEqual(message(5000));
  });

  test('takes chunks of one length and checksum but other bytes for corrupt, once they are together', () => {
    const { chunks, add } = setUp();
    const parts = splitMessage(message(3000), MAX_PAYLOAD);
    const foreign = Buffer.from(parts[1] as Buffer);
    foreign.writeUInt8(foreign.readUInt8(100) ^ 1, 100);
    add(parts[0] as Buffer);
    add(resealed(foreign));
    add(parts[2] as Buffer);
    expect(() => add(parts[3] as Buffer)).toThrow(expect.objectContaining({ code: 'EnvelopeCorrupt' }));
    expect(chunks.pendingBytes).toBe(0);
  });

  test('takes a chunk in chunks for corrupt', () => {
    const { add } = setUp();
    const [inner] = splitMessage(message(5000), 4096);
    const outer = splitMessage(inner as Buffer, MAX_PAYLOAD);
    for (const part of outer.slice(0, -1)) add(part);
    expect(() => add(outer.at(-1) as Buffer)).toThrow(expect.objectContaining({ code: 'EnvelopeCorrupt' }));
  });
});

describe('joinParts', () => {
  test('waits for all parts, and takes parts of two messages for corrupt', () => {
    const [a, b] = [1, 2].map((mark) => splitMessage(message(5000, mark), MAX_PAYLOAD)) as [Buffer[], Buffer[]];
    expect(joinParts([], 5000)).toBeUndefined();
    expect(joinParts(a.slice(1), 5000)).toBeUndefined();
    expect(joinParts(a.toReversed(), 5000)?.bytes).toEqual(message(5000, 1));
    expect(() => joinParts([...a.slice(1), b[0] as Buffer], 5000)).toThrow(
      expect.objectContaining({ code: 'EnvelopeCorrupt' }),
    );
    expect(() => joinParts(a, 4999)).toThrow(expect.objectContaining({ code: 'EnvelopeTooLarge' }));
  });
});
