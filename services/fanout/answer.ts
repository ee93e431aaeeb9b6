import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { prettyRequested } from '@dogwatch/kube/content-negotiation.ts';
import type { StatusBody } from '@dogwatch/kube/status.ts';
import { statusResponse } from '@dogwatch/kube/status-response.ts';
import type { Exchange, ResponseHeaders, UpgradeExchange } from './exchange.ts';

const AUDIT_ID_MAX = 256;

/** Headers of every answer dogwatch gives itself (protocol rows H1, H2), and `headers`. */
export function answerHeaders(exchange: Exchange, headers: ResponseHeaders): ResponseHeaders {
  const asked = exchange.headers['audit-id'];
  const auditId = typeof asked === 'string' && asked !== '' && asked.length <= AUDIT_ID_MAX ? asked : randomUUID();
  return { 'audit-id': auditId, 'cache-control': 'no-cache, private', ...headers };
}

/** Of a resource, as upstream gives them (protocol row H4). */
export function warningHeader(warnings: readonly string[]): ResponseHeaders {
  return warnings.length > 0 ? { warning: [...warnings] } : {};
}

/** Answers with a status in the encoding the client accepts, and the warnings upstream gives for the resource. */
export function answerStatus(exchange: Exchange, status: StatusBody, warnings: readonly string[] = []): void {
  const { query } = parseApiRequest(exchange.method, exchange.url);
  const pretty = prettyRequested(query, exchange.headers['user-agent']);
  const { code, headers, body } = statusResponse(status, exchange.headers.accept, pretty);
  exchange.respond(code, answerHeaders(exchange, { ...headers, ...warningHeader(warnings) }), body);
}

/** Refuses an upgrade: a plain HTTP/1.1 answer on the raw socket, which is then closed. */
export function answerUpgrade(exchange: UpgradeExchange, status: StatusBody): void {
  const { code, headers, body } = statusResponse(status, exchange.headers.accept, false);
  const lines = Object.entries({ ...headers, 'content-length': String(body.length), connection: 'close' });
  const head = [`HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}`, ...lines.map(([name, value]) => `${name}: ${value}`)];
  exchange.socket.on('error', () => exchange.socket.destroy());
  exchange.socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
}
