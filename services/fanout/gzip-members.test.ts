import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GzipMembers } from './gzip-members.ts';

const OVERHEAD_BYTES = 33;

function text(length: number): Buffer {
  return Buffer.from('{"type":"MODIFIED"}\n'.repeat(Math.ceil(length / 20)).slice(0, length));
}

describe('N6 streams of gzip members', () => {
  test('any writes, repeated or not, are read by who takes concatenated members', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 9_000, size: 'max' }), { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(), { minLength: 1, maxLength: 30 }),
        (buffers, order) => {
          const members = new GzipMembers();
          const writes = order.map((at) => Buffer.from(buffers[at % buffers.length]!.buffer));
          const stream = Buffer.concat(writes.map((bytes) => members.of(bytes)));
          expect(gunzipSync(stream).equals(Buffer.concat(writes))).toBe(true);
        },
      ),
    );
  });

  test('a member ends with two empty blocks: a Go client reads what it has at the first, without waiting for the next', () => {
    for (const bytes of [text(900), text(9_000)]) {
      const member = new GzipMembers().of(bytes);
      expect(member.subarray(-17, -8).toString('hex')).toBe('0000ffff010000ffff');
    }
  });

  test('what one watcher alone is sent is compressed if it is large', () => {
    const members = new GzipMembers();
    expect(members.of(text(900)).length).toBe(900 + OVERHEAD_BYTES);
    expect(members.of(text(9_000)).length).toBeLessThan(900);
  });

  test('what many are sent is compressed, once', () => {
    const members = new GzipMembers();
    const bytes = text(900);
    members.of(bytes);
    const second = members.of(bytes);
    expect(second.length).toBeLessThan(400);
    expect(members.of(bytes)).toBe(second);
  });

  test('I9: what was sent long ago is forgotten', () => {
    const members = new GzipMembers();
    const large = text(9_000);
    const first = members.of(large);
    for (let count = 0; count < 64; count++) members.of(text(100));
    expect(members.of(large)).not.toBe(first);
    const again = members.of(large);
    members.of(text(2 * 1024 * 1024));
    expect(members.of(large)).not.toBe(again);
  });
});
