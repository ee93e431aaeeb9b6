import { constants, createGzip } from 'node:zlib';
import type { ClientStream, Exchange, ResponseHeaders } from './exchange.ts';

/** Bodies of at most this many bytes are never compressed. */
export const THRESHOLD_BYTES = 128 * 1024;

/** What is said of an answer that was compressed because the client accepts it. */
export const GZIP_HEADERS: ResponseHeaders = { 'content-encoding': 'gzip', vary: 'Accept-Encoding' };

/** Row N5: whether `gzip` is a token of Accept-Encoding by itself. Upstream reads no weights: `gzip;q=1` is not it. */
export function acceptsGzip(acceptEncoding: string | string[] | undefined): boolean {
  if (acceptEncoding === undefined) return false;
  return String(acceptEncoding)
    .split(',')
    .some((token) => token.trim() === 'gzip');
}

/**
 * Answers with a body of any size, made of `parts` as fast as the client takes them. It is compressed (row N5) if the
 * client accepts it and there is more than 128 KiB; that much is held until this is known.
 */
export function streamBody(exchange: Exchange, headers: ResponseHeaders, parts: Iterator<Buffer>): void {
  if (!acceptsGzip(exchange.headers['accept-encoding'])) {
    pump(exchange.stream(200, headers), parts);
    return;
  }
  const held: Buffer[] = [];
  let bytes = 0;
  while (bytes <= THRESHOLD_BYTES) {
    const { value, done } = parts.next();
    if (done === true) break;
    held.push(value);
    bytes += value.length;
  }
  const whole = chained(held, parts);
  if (bytes <= THRESHOLD_BYTES) pump(exchange.stream(200, headers), whole);
  else compressed(exchange.stream(200, { ...headers, ...GZIP_HEADERS }), whole);
}

function* chained(held: Buffer[], rest: Iterator<Buffer>): Generator<Buffer, void> {
  while (held.length > 0) yield held.shift()!;
  for (;;) {
    const { value, done } = rest.next();
    if (done === true) return;
    yield value;
  }
}

/** Writes the parts as fast as the client takes them, and ends the stream. */
function pump(client: ClientStream, parts: Iterator<Buffer>): void {
  let open = true;
  const proceed = (): void => {
    while (open) {
      const { value, done } = parts.next();
      if (done === true) {
        client.end();
        return;
      }
      if (!client.write(value)) return;
    }
  };
  client.listen({ onDrain: proceed, onClose: () => (open = false) });
  proceed();
}

/** As `pump`, through gzip: no more is compressed than zlib holds (16 KiB in, 16 KiB out) beyond what the client took. */
function compressed(client: ClientStream, parts: Iterator<Buffer>): void {
  // What upstream compresses with: the fastest.
  const gzip = createGzip({ level: constants.Z_BEST_SPEED });
  const proceed = (): void => {
    for (;;) {
      const { value, done } = parts.next();
      if (done === true) {
        gzip.end();
        return;
      }
      if (!gzip.write(value)) return;
    }
  };
  client.listen({ onDrain: () => gzip.resume(), onClose: () => gzip.destroy() });
  gzip.on('data', (bytes: Buffer) => {
    if (!client.write(bytes)) gzip.pause();
  });
  gzip.once('end', () => client.end());
  gzip.once('error', () => client.abort());
  gzip.on('drain', proceed);
  proceed();
}
