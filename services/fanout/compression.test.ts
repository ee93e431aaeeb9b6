import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { acceptsGzip, streamBody } from './compression.ts';
import { BytesClient, BytesExchange } from './test-bytes-exchange.ts';

const THRESHOLD = 128 * 1024;
const GZIP = { 'content-encoding': 'gzip', vary: 'Accept-Encoding' };

function exchangeOf(acceptEncoding: string | undefined, client = new BytesClient()): BytesExchange {
  const headers = acceptEncoding === undefined ? {} : { 'accept-encoding': acceptEncoding };
  return new BytesExchange('/api/v1/pods', headers, client);
}

/** `length` bytes that compress to about a third, in chunks. */
function body(length: number, chunk = 60_000): Buffer[] {
  let seed = 1;
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) {
    seed = (seed * 48_271) % 2_147_483_647;
    bytes[at] = 0x61 + (seed % 6);
  }
  const parts: Buffer[] = [];
  for (let at = 0; at < length; at += chunk) parts.push(bytes.subarray(at, at + chunk));
  return parts;
}

async function answered(exchange: BytesExchange, parts: Buffer[]): Promise<Buffer> {
  streamBody(exchange, { 'content-type': 'application/json' }, parts.values());
  await exchange.bytes.ended;
  return Buffer.concat(exchange.bytes.writes);
}

describe('N5 gzip of LIST and GET', () => {
  test.each([
    ['gzip', true],
    [' gzip ', true],
    ['deflate, gzip', true],
    ['gzip,deflate', true],
    ['gzip;q=1', false],
    ['GZIP', false],
    ['x-gzip', false],
    ['*', false],
    ['', false],
    [undefined, false],
  ])('Accept-Encoding %j: %s', (header, accepted) => {
    expect(acceptsGzip(header)).toBe(accepted);
  });

  test('of what is larger than 128 KiB, and only then Vary', async () => {
    const parts = body(THRESHOLD + 1);
    const exchange = exchangeOf('gzip');
    const bytes = await answered(exchange, parts);
    expect(exchange.answer).toEqual({ 'content-type': 'application/json', ...GZIP });
    expect(bytes.length).toBeLessThan(THRESHOLD / 2);
    expect(gunzipSync(bytes).equals(Buffer.concat(parts))).toBe(true);
  });

  test.each([0, 1, THRESHOLD])('not of %d bytes', async (length) => {
    const parts = body(length);
    const exchange = exchangeOf('gzip');
    const bytes = await answered(exchange, parts);
    expect(exchange.answer).toEqual({ 'content-type': 'application/json' });
    expect(bytes.equals(Buffer.concat(parts))).toBe(true);
  });

  test('not where it is not accepted, and then nothing is held back', () => {
    const exchange = exchangeOf(undefined, new BytesClient(1));
    const parts = body(3 * THRESHOLD);
    const left = parts.values();
    streamBody(exchange, {}, left);
    expect(exchange.answer).toEqual({});
    expect(exchange.bytes.writes).toEqual([parts[0]]);
    expect([...left].length).toBe(parts.length - 1);
  });

  test('I8: a client that reads slowly gets all of it, and meanwhile little is made', async () => {
    let made = 0;
    const parts = body(4 * 1024 * 1024);
    function* counted(): Generator<Buffer, void> {
      for (const part of parts) {
        made += part.length;
        yield part;
      }
    }
    const client = new BytesClient(1);
    const exchange = exchangeOf('gzip', client);
    let most = 0;
    client.onBlocked = (): void => {
      const taken = made;
      setImmediate(() => {
        most = Math.max(most, made - taken);
        client.drain();
      });
    };
    streamBody(exchange, {}, counted());
    await client.ended;
    expect(gunzipSync(Buffer.concat(client.writes)).equals(Buffer.concat(parts))).toBe(true);
    expect(most).toBeLessThanOrEqual(2 * 60_000);
  });

  test('a client that goes ends it', async () => {
    const client = new BytesClient(1);
    const exchange = exchangeOf('gzip', client);
    const blocked = new Promise<void>((resolve) => (client.onBlocked = resolve));
    const left = body(8 * 1024 * 1024).values();
    streamBody(exchange, {}, left);
    await blocked;
    client.leave();
    await new Promise(setImmediate);
    expect([...left].length).toBeGreaterThan(100);
    expect(client.writes.length).toBe(1);
  });
});
