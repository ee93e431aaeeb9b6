import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { contentType } from '@dogwatch/kube/content-negotiation.ts';
import type { ResourceCounts } from './simulated-counters.ts';
import { StatusError } from './simulated-status.ts';
import type { SimulatedValve } from './simulated-valve.ts';
import type { Wire } from './simulated-view.ts';

/** A request body above this is refused, as upstream's 3 MB. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** The first value of a header. */
export function header(request: Http2ServerRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** A whole answer, JSON unless the headers say otherwise. */
export function answer(
  response: Http2ServerResponse,
  status: number,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

/** A LIST's body in pieces, each sent when the one before was taken and the valve lets it. */
export async function sendChunks(
  response: Http2ServerResponse,
  chunks: Iterable<Buffer>,
  { wire, valve, counts }: { wire: Wire; valve: SimulatedValve; counts: ResourceCounts },
): Promise<void> {
  response.writeHead(200, { 'content-type': contentType(wire.encoding, false) });
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length && !response.destroyed;) {
      await valve.opened;
      const piece = chunk.subarray(at, Math.min(chunk.length, at + valve.bytesAtOnce));
      at += piece.length;
      counts.listBytes += piece.length;
      if (!response.write(piece) && !response.destroyed) await writable(response);
      if (valve.isSlow) await valve.drip();
    }
    if (response.destroyed) return;
  }
  response.end();
}

/** Resolves when the response has drained or is gone. */
function writable(response: Http2ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      response.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    response.on('drain', settle);
    response.on('close', settle);
  });
}

/** The request's body as text. Throws StatusError 413. */
export async function readBody(request: Http2ServerRequest): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw new StatusError(413, {
        reason: 'RequestEntityTooLarge',
        message: 'Request entity too large: limit is 3145728',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
