import type { ResponseHeaders } from './exchange.ts';

/** Headers that belong to one hop; the server sets its own (RFC 9110 7.6.1). */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

export interface ResponseHead {
  readonly headers: ResponseHeaders;
  /** The answer has no body: HEAD, 204 and 304. */
  readonly bodiless: boolean;
  /** `connection: close` was asked for: no further requests on this connection. */
  readonly closes: boolean;
}

/** An answer's head without what the server itself must get right. */
export function responseHead(method: string, status: number, given: ResponseHeaders): ResponseHead {
  const headers: ResponseHeaders = {};
  for (const [name, value] of Object.entries(given)) {
    if (HOP_BY_HOP.has(name) || (status === 204 && name === 'content-length')) continue;
    headers[name] = value;
  }
  const closes = given['connection']?.toString().toLowerCase() === 'close';
  return { headers, bodiless: method === 'HEAD' || status === 204 || status === 304, closes };
}
