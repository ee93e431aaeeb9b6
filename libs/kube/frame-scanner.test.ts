import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameTooLarge, createFrameScanner } from './frame-scanner.ts';
import type { Encoding } from './lane.ts';

const line = (text: string): Buffer => Buffer.from(`${text}\n`);

function lengthPrefixed(payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + payload.length);
  frame.writeUInt32BE(payload.length);
  frame.set(payload, 4);
  return frame;
}

function scan(encoding: Encoding, chunks: readonly Buffer[], maxFrameBytes?: number): Buffer[] {
  const frames: Buffer[] = [];
  const scanner = createFrameScanner(encoding, maxFrameBytes);
  for (const chunk of chunks) scanner.push(chunk, (frame) => frames.push(frame));
  return frames;
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
}

describe('frames', () => {
  test('of JSON are lines, their newline included', () => {
    expect(scan('json', [Buffer.from('{"a":1}\n{"b":2}\n')])).toEqual([line('{"a":1}'), line('{"b":2}')]);
  });

  test('of protobuf are a big-endian length and as many bytes, the length included', () => {
    const frames = [lengthPrefixed(Buffer.from('one')), lengthPrefixed(Buffer.alloc(300, 7))];
    expect(scan('protobuf', [Buffer.concat(frames)])).toEqual(frames);
  });

  test('of JSON are never blank lines', () => {
    expect(scan('json', [Buffer.from('\n\r\n \t\n{}\n'), Buffer.from('\r'), Buffer.from('\n')])).toEqual([line('{}')]);
  });

  test('of protobuf may be empty messages', () => {
    expect(scan('protobuf', [Buffer.alloc(8)])).toEqual([Buffer.alloc(4), Buffer.alloc(4)]);
  });

  test.each([
    ['json', Buffer.from('{"a":1}\n{"b":2}\n')],
    ['protobuf', Buffer.concat([lengthPrefixed(Buffer.from('ab')), lengthPrefixed(Buffer.from('cd'))])],
  ] as const)('of %s are views into the chunk they lie in wholly', (encoding, chunk) => {
    for (const frame of scan(encoding, [chunk])) expect(frame.buffer).toBe(chunk.buffer);
  });

  test.each([
    ['json', line('{"a":1}')],
    ['protobuf', lengthPrefixed(Buffer.from('abcdef'))],
  ] as const)('of %s that straddle chunks are copies, so that the chunks may be reused', (encoding, frame) => {
    const chunks = [Buffer.from(frame.subarray(0, 5)), Buffer.from(frame.subarray(5))];
    const scanner = createFrameScanner(encoding);
    const frames: Buffer[] = [];
    for (const chunk of chunks) {
      scanner.push(chunk, (found) => frames.push(found));
      chunk.fill(0);
    }
    expect(frames).toEqual([frame]);
  });

  test('are the same however the bytes are cut into chunks', () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
    const cuts = fc.array(fc.nat(400), { maxLength: 20 });
    fc.assert(
      fc.property(payloads, cuts, (all, where) => {
        const frames = all.map(lengthPrefixed);
        expect(scan('protobuf', split(Buffer.concat(frames), where))).toEqual(frames);
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 8 }), cuts, (values, where) => {
        const frames = values.map((value) => line(JSON.stringify(value)));
        expect(scan('json', split(Buffer.concat(frames), where))).toEqual(frames);
      }),
    );
  });

  test.each(['json', 'protobuf'] as const)('of %s are found in chunks of one byte', (encoding) => {
    const frames = ['{}', '{"a":"x"}'].map((text) =>
      encoding === 'json' ? line(text) : lengthPrefixed(Buffer.from(text)),
    );
    const bytes = Buffer.concat(frames);
    expect(scan(encoding, split(bytes, [...bytes.keys()]))).toEqual(frames);
  });
});

describe('a frame without an end', () => {
  test.each([
    ['json', '{"a":', 5],
    ['protobuf', '\0\0\0\x09abc', 7],
    ['protobuf', '\0\0', 2],
  ] as const)('in %s is pending', (encoding, text, pending) => {
    const scanner = createFrameScanner(encoding);
    expect(scanner.pendingBytes).toBe(0);
    scanner.push(Buffer.from(text), () => expect.unreachable());
    expect(scanner.pendingBytes).toBe(pending);
  });

  test('costs linear time in many small chunks', () => {
    const scanner = createFrameScanner('json');
    const chunk = Buffer.alloc(64, 'a');
    const frames: number[] = [];
    // 32 MiB in half a million chunks: joining them anew for each would copy 8 TB.
    for (let i = 0; i < 2 ** 19; i++) scanner.push(chunk, () => expect.unreachable());
    scanner.push(Buffer.from('\n'), (frame) => frames.push(frame.length));
    expect(frames).toEqual([2 ** 25 + 1]);
  });
});

describe('a frame above the bound', () => {
  test.each([
    ['json', [line('{"aaaa":1}')]],
    ['json', [Buffer.from('{"aaaa'), Buffer.from('aaaaa')]],
    ['protobuf', [lengthPrefixed(Buffer.alloc(7))]],
  ] as const)('in %s is refused as soon as that is known', (encoding, chunks) => {
    expect(() => scan(encoding, chunks, 10)).toThrow(FrameTooLarge);
  });

  test('in protobuf is refused at its length', () => {
    expect(() => scan('protobuf', [Buffer.from([0xff]), Buffer.from([0xff, 0xff, 0xff])])).toThrow(FrameTooLarge);
  });

  test('has a stable code', () => {
    expect(new FrameTooLarge(10)).toMatchObject({ code: 'FrameTooLarge', name: 'FrameTooLarge' });
  });

  test.each([
    ['json', line('{"aaa":1}')],
    ['protobuf', lengthPrefixed(Buffer.alloc(6))],
  ] as const)('in %s begins one byte after it', (encoding, frame) => {
    expect(scan(encoding, [frame], 10)).toEqual([frame]);
  });

  test('does not take those before it along', () => {
    const frames: Buffer[] = [];
    const push = () =>
      createFrameScanner('json', 10).push(Buffer.from('{}\n{"aaaaaaaa":1}\n'), (frame) => frames.push(frame));
    expect(push).toThrow(FrameTooLarge);
    expect(frames).toEqual([line('{}')]);
  });
});
